"""Addresses below /api-access/, included by portal/urls.py."""

from django.urls import path

from portal.customer import integrations

urlpatterns = [
    path("", integrations.overview, name="integrations"),
    path("tokens/add/", integrations.token_add, name="token_add"),
    path("tokens/<int:pk>/revoke/", integrations.token_revoke, name="token_revoke"),
    path("webhooks/add/", integrations.webhook_add, name="webhook_add"),
    path("webhooks/<int:pk>/", integrations.webhook, name="webhook"),
    path("webhooks/<int:pk>/test/", integrations.webhook_test, name="webhook_test"),
    path("webhooks/<int:pk>/rotate/", integrations.webhook_rotate, name="webhook_rotate"),
    path("webhooks/<int:pk>/switch/", integrations.webhook_switch, name="webhook_switch"),
    path("webhooks/<int:pk>/remove/", integrations.webhook_remove, name="webhook_remove"),
    path("deliveries/<uuid:pk>/", integrations.delivery, name="webhook_delivery"),
    path("deliveries/<uuid:pk>/again/", integrations.delivery_again, name="webhook_again"),
]
