"""Asking the lists by DNS: no Django and no database in here.

wire     questions and answers as octets (RFC 1035)
asker    a few shared UDP sockets, TCP when an answer is cut, many questions in flight
pace     politeness: so many questions a second, so many in flight, give up on a list that fails
worker   one list: test entries, targets, test entries again
check    all lists of a plan side by side, as a stream of events for the caller's thread
"""
