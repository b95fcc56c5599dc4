"""Everything about sending: who may send, by which rules, by which ways out, and what became of each message."""

from gateway.models.audit import AuditEntry, PolicyVersion
from gateway.models.complaints import Complaint
from gateway.models.customers import Credential, Customer, Domain, SourceNetwork
from gateway.models.mail import (
    Attempt,
    Body,
    Message,
    NdrReport,
    Recipient,
    Refusal,
    SetupEvent,
    Suppression,
    TlsShadow,
)
from gateway.models.policy import DkimKey, Shaping, TlsRule
from gateway.models.spam import Appeal, FeatureVector, LocalWord, SpamException
from gateway.models.statistics import HourlyCount, RateWindow, TlsCount
from gateway.models.ways import Bar, Gateway, Worker

__all__ = [
    "Appeal",
    "Attempt",
    "AuditEntry",
    "Bar",
    "Body",
    "Complaint",
    "Credential",
    "Customer",
    "DkimKey",
    "Domain",
    "FeatureVector",
    "Gateway",
    "HourlyCount",
    "LocalWord",
    "Message",
    "NdrReport",
    "PolicyVersion",
    "RateWindow",
    "Recipient",
    "Refusal",
    "SetupEvent",
    "Shaping",
    "SourceNetwork",
    "SpamException",
    "Suppression",
    "TlsCount",
    "TlsRule",
    "TlsShadow",
    "Worker",
]
