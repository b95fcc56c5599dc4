"""Decisions about blocklists as pure functions: standard library only, no clock, no sockets, no database.

names      which name is asked for a target, and what a target is
providers  what the rows of the fact files mean: codes, bits, test entries
dead       lists that are never asked
judge      listed, not listed or honestly unknown: the decision table
severity   how bad a listing is, by list, code and role of the target
world      a list that suddenly lists everybody is broken; what the answers say about our resolver
episodes   which alert a hit or a clean answer causes, and which incident it belongs to
tickets    the states of a delisting ticket and their deadlines
requests   what may be done about a listing, by class of list
drafts     the removal request in words
replies    which list or reputation system a remote reply names
"""
