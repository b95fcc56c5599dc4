"""Addresses below /tickets/requests/, included by portal/urls.py."""

from django.urls import path

from portal.customer import support_requests

urlpatterns = [
    path("", support_requests.request_list, name="support_requests"),
    path("add/", support_requests.request_add, name="support_request_add"),
    path("<int:pk>/", support_requests.request_detail, name="support_request"),
    path("<int:pk>/close/", support_requests.request_close, name="support_request_close"),
    path("consent/", support_requests.consent_page, name="consent"),
    path("consent/<int:pk>/revoke/", support_requests.consent_revoke, name="consent_revoke"),
    path("consent/csv/", support_requests.consent_csv, name="consent_csv"),
]
