"""Addresses below /support/, included by portal/urls.py."""

from django.urls import path

from portal.support import (
    backtest,
    complaints,
    customers,
    desk,
    gateways,
    messages,
    ndr,
    queue,
    requests,
    system,
)

urlpatterns = [
    path("", desk.desk, name="support"),
    path("customers/", customers.customer_list, name="support_customers"),
    path("customers/<int:pk>/", customers.customer_detail, name="support_customer"),
    path("customers/<int:pk>/limit/", customers.customer_limit, name="support_customer_limit"),
    path("customers/<int:pk>/suspend/", customers.customer_suspend, name="support_customer_suspend"),
    path("customers/<int:pk>/invite/", customers.customer_invite, name="support_customer_invite"),
    path("customers/<int:pk>/open/", customers.open_customer, name="open_customer"),
    path("messages/", messages.message_search, name="support_messages"),
    path("messages/<str:text_id>/", messages.message_detail, name="support_message"),
    path("messages/<str:text_id>/look/", messages.message_look, name="support_message_look"),
    path("messages/<str:text_id>/break-glass/", messages.message_break_glass, name="support_break_glass"),
    path("queue/", queue.queue, name="support_queue"),
    path("queue/<str:verb>/", queue.queue_verb, name="support_queue_verb"),
    path("gateways/", gateways.gateway_list, name="support_gateways"),
    path("gateways/<int:pk>/drain/", gateways.gateway_drain, name="support_gateway_drain"),
    path("gateways/<int:pk>/check/", gateways.gateway_check, name="support_gateway_check"),
    path("backtest/", backtest.backtest, name="support_backtest"),
    path("backtest/save/", backtest.backtest_save, name="support_backtest_save"),
    path("ndr/", ndr.ndr_analysis, name="support_ndr"),
    path("complaints/", complaints.complaint_list, name="support_complaints"),
    path("requests/", requests.request_list, name="support_requests_open"),
    path("requests/<int:pk>/", requests.request_answer, name="support_answer"),
    path("requests/<int:pk>/close/", requests.request_close, name="support_answer_close"),
    path("system/", system.system, name="support_system"),
]
