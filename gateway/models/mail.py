"""The queue and the log in one: a message stays here after it was delivered, its body does not.

Ids of messages are made by the relay (time-ordered, 63 bits, see rules/ids.py), so that rows of both tables go into
the database in one batch without asking it for keys, and so that the id orders the log.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from gateway.models.customers import Credential, Customer
from gateway.models.fields import MadeId
from gateway.models.ways import Gateway


class Message(models.Model):
    """One accepted message with its verdict."""

    class Kind(models.TextChoices):
        CUSTOMER = "customer", _("message")
        NDR = "ndr", _("non-delivery report")
        OWN = "own", _("mail of the gateway itself")

    class CategoryChoice(models.TextChoices):
        CLEAN = "clean", _("clean")
        SUSPECT = "suspect", _("suspect")
        SPAM = "spam", _("spam")

    id = MadeId(primary_key=True)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.CUSTOMER)
    customer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="messages", db_index=False)
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, related_name="+", db_index=False)
    received_at = models.DateTimeField(_("received"))
    sender = models.CharField(_("sender"), max_length=320, blank=True)  # '' = null sender
    sender_domain = models.CharField(_("sender domain"), max_length=255, blank=True)
    header_from = models.CharField(_("From"), max_length=320, blank=True)
    subject = models.CharField(_("subject"), max_length=300, blank=True)
    message_id = models.CharField(_("Message-ID"), max_length=300, blank=True)
    size_bytes = models.PositiveBigIntegerField(_("size"))
    recipient_count = models.PositiveIntegerField(_("recipients"))
    client_ip = models.GenericIPAddressField(_("handed over from"), null=True)
    helo = models.CharField(_("HELO"), max_length=255, blank=True)
    client_tls = models.CharField(_("TLS to us"), max_length=100, blank=True)  # 'TLSv1.3 CIPHER'
    eight_bit = models.BooleanField(default=False)
    smtputf8 = models.BooleanField(default=False)
    require_tls = models.BooleanField(default=False)  # REQUIRETLS
    tls_optional = models.BooleanField(default=False)  # 'TLS-Required: No'
    ret = models.CharField(max_length=4, blank=True)
    envid = models.CharField(max_length=100, blank=True)
    category = models.CharField(
        _("category"), max_length=8, choices=CategoryChoice, default=CategoryChoice.CLEAN
    )
    score = models.FloatField(_("score"), default=0)
    symbols = models.JSONField(_("symbols"), default=list)  # [[name, share], ...]
    trace = models.JSONField(_("trace"), default=list)  # [{step, outcome, detail, ms}, ...]
    related = models.BigIntegerField(null=True)  # of an NDR: the message it reports
    warned_at = models.DateTimeField(null=True)  # a delay warning was sent

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["customer", "-id"], name="message_by_customer"),
            models.Index(fields=["customer", "sender", "-id"], name="message_by_sender"),
            models.Index(fields=["credential", "-id"], name="message_by_credential"),
            models.Index(fields=["message_id"], name="message_by_message_id"),
            # One message in a hundred is in it: looking for spam does not read the clean ones.
            models.Index(
                fields=["customer", "-id"], condition=~models.Q(category="clean"), name="message_suspect"
            ),
        ]

    def __str__(self) -> str:
        return self.text_id

    @property
    def text_id(self) -> str:
        from gateway.rules.ids import to_text

        return to_text(self.id)


class Body(models.Model):
    """A message's octets until its last recipient is settled; in the row, or in the spool when too big for one."""

    message = models.OneToOneField(
        Message, models.CASCADE, primary_key=True, related_name="body", db_constraint=False
    )
    content = models.BinaryField(null=True)
    spool = models.CharField(max_length=100, blank=True)  # file name below the spool directory

    def __str__(self) -> str:
        return str(self.message_id)


class Recipient(models.Model):
    """One recipient of a message: what is still to do, or what became of it."""

    class StateChoice(models.TextChoices):
        QUEUED = "queued", _("in the queue")
        HELD = "held", _("held")
        DELIVERED = "delivered", _("delivered")
        BOUNCED = "bounced", _("undeliverable")
        EXPIRED = "expired", _("expired")
        CANCELLED = "cancelled", _("cancelled")

    id = MadeId(primary_key=True)
    message = models.ForeignKey(Message, models.CASCADE, related_name="recipients", db_constraint=False)
    customer = models.ForeignKey(
        Customer, models.CASCADE, null=True, related_name="recipients", db_index=False
    )
    address = models.CharField(_("recipient"), max_length=320)
    domain = models.CharField(_("recipient domain"), max_length=255)
    notify = models.CharField(max_length=30, blank=True)  # 'FAILURE,DELAY'
    orcpt = models.CharField(max_length=500, blank=True)
    state = models.CharField(_("state"), max_length=9, choices=StateChoice, default=StateChoice.QUEUED)
    pool = models.CharField(_("pool"), max_length=4)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    # When somebody may take it (again): the end of the lease while a process works on it, else the next attempt.
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    lease_owner = models.CharField(max_length=100, blank=True)
    expires_at = models.DateTimeField(_("expires"))
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, related_name="+", db_index=False)
    remote_host = models.CharField(_("remote server"), max_length=255, blank=True)
    code = models.PositiveSmallIntegerField(_("reply code"), null=True)
    enhanced = models.CharField(_("enhanced code"), max_length=12, blank=True)
    text = models.TextField(_("reply"), blank=True)
    reason = models.CharField(_("reason"), max_length=30, blank=True)
    tls = models.JSONField(_("TLS"), null=True)
    settled_at = models.DateTimeField(_("settled"), null=True)
    ndr = models.BigIntegerField(null=True)  # the report's message id

    class Meta:
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")
        ordering = ["id"]
        indexes = [
            # What the queue costs does not depend on the log: only open rows are in these. Accepted mail is leased
            # until it is settled, so what is delivered at once never enters the first. SQLite uses an index with a
            # condition only where the query has the same words, not values that are bound (store/leases.py).
            models.Index(
                # A claim passes over what it does not want; SQLite sees here what that is, without the rows.
                fields=["next_attempt_at", "id", "pool", "customer", "domain"],
                condition=models.Q(state="queued", lease_owner=""),
                name="recipient_due",
            ),
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state="queued") & ~models.Q(lease_owner=""),
                name="recipient_leased",
            ),
            models.Index(
                fields=["state", "pool", "domain", "next_attempt_at"],
                include=["id"],  # for the age of the oldest; SQLite has it in every index
                condition=models.Q(state__in=["queued", "held"]),
                name="recipient_open",
            ),
            models.Index(fields=["next_attempt_at"], condition=models.Q(state="held"), name="recipient_held"),
            models.Index(
                fields=["expires_at"], condition=models.Q(state="held"), name="recipient_held_until"
            ),
            models.Index(fields=["customer", "state", "-id"], name="recipient_by_state"),
            models.Index(fields=["customer", "address", "-id"], name="recipient_by_address"),
            models.Index(fields=["customer", "domain", "-id"], name="recipient_by_domain"),
        ]

    def __str__(self) -> str:
        return self.address


class Attempt(models.Model):
    """One try for one recipient; with the message's trace they make its timeline."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, models.CASCADE, related_name="attempts", db_constraint=False)
    recipient = models.BigIntegerField(db_index=False)
    at = models.DateTimeField(_("time"))
    state = models.CharField(_("outcome"), max_length=9, choices=Recipient.StateChoice)
    stage = models.CharField(_("stage"), max_length=10)
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, related_name="+", db_index=False)
    remote_host = models.CharField(_("remote server"), max_length=255, blank=True)
    remote_ip = models.GenericIPAddressField(_("remote address"), null=True)
    code = models.PositiveSmallIntegerField(_("reply code"), null=True)
    enhanced = models.CharField(_("enhanced code"), max_length=12, blank=True)
    text = models.TextField(_("reply"), blank=True)
    reason = models.CharField(_("reason"), max_length=30, blank=True)
    tls = models.JSONField(_("TLS"), null=True)
    # 'selector._domainkey.domain' of the signature it carried; '' = the domain had no active key
    signed_by = models.CharField(_("DKIM key"), max_length=330, blank=True)
    duration_ms = models.FloatField(_("milliseconds"), default=0)

    class Meta:
        verbose_name = _("attempt")
        verbose_name_plural = _("attempts")
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.state}"


class Refusal(models.Model):
    """A message or command we did not accept, so that the customer can see why."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"))
    customer = models.ForeignKey(Customer, models.CASCADE, null=True, related_name="refusals", db_index=False)
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, related_name="+", db_index=False)
    username = models.CharField(_("login"), max_length=100, blank=True)
    stage = models.CharField(_("stage"), max_length=12)  # connect, auth, mail, rcpt, data
    client_ip = models.GenericIPAddressField(_("client"), null=True)
    helo = models.CharField(_("HELO"), max_length=255, blank=True)
    sender = models.CharField(_("sender"), max_length=320, blank=True)
    recipient = models.CharField(_("recipient"), max_length=320, blank=True)
    code = models.PositiveSmallIntegerField(_("reply code"))
    enhanced = models.CharField(_("enhanced code"), max_length=12, blank=True)
    text = models.CharField(_("reply"), max_length=500)
    reason = models.CharField(_("reason"), max_length=30)
    detail = models.JSONField(_("details"), default=dict)
    trace = models.JSONField(_("trace"), default=list)

    class Meta:
        verbose_name = _("refusal")
        verbose_name_plural = _("refusals")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["customer", "-id"], name="refusal_by_customer"),
            models.Index(fields=["at"], name="refusal_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class NdrReport(models.Model):
    """One failed recipient of one report we made: the customer reads why, grouped by cause."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(_("time"))
    customer = models.ForeignKey(
        Customer, models.CASCADE, null=True, related_name="ndr_reports", db_index=False
    )
    message = models.ForeignKey(Message, models.CASCADE, related_name="ndr_reports", db_constraint=False)
    recipient = models.BigIntegerField(null=True)
    report = models.BigIntegerField(null=True)  # message id of the mail to the sender; null = not sent
    kind = models.CharField(
        _("kind"), max_length=10, default="failed"
    )  # failed | delayed | delivered | relayed
    sender = models.CharField(_("sender"), max_length=320, blank=True)
    address = models.CharField(_("recipient"), max_length=320)
    domain = models.CharField(_("recipient domain"), max_length=255)
    cause = models.CharField(_("cause"), max_length=40)  # key of the dictionary, data/smtp_codes.yaml
    code = models.PositiveSmallIntegerField(_("reply code"), null=True)
    enhanced = models.CharField(_("enhanced code"), max_length=12, blank=True)
    text = models.TextField(_("reply"), blank=True)
    gateway = models.ForeignKey(Gateway, models.SET_NULL, null=True, related_name="+", db_index=False)

    class Meta:
        verbose_name = _("non-delivery report")
        verbose_name_plural = _("non-delivery reports")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["customer", "-id"], name="ndr_by_customer"),
            models.Index(fields=["at"], name="ndr_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.address}: {self.cause}"


class Suppression(models.Model):
    """A recipient address not to be tried again for this customer, because it is known not to exist."""

    customer = models.ForeignKey(
        Customer, models.CASCADE, related_name="suppressions", verbose_name=_("customer")
    )
    address = models.CharField(_("recipient"), max_length=320)
    reason = models.CharField(_("reason"), max_length=30)
    text = models.CharField(_("reply"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("suppressed recipient")
        verbose_name_plural = _("suppressed recipients")
        ordering = ["-id"]
        constraints = [models.UniqueConstraint("customer", "address", name="suppression_once")]

    def __str__(self) -> str:
        return self.address


class TlsShadow(models.Model):
    """What a TLS rule in shadow mode would have done to one attempt."""

    id = models.BigAutoField(primary_key=True)
    message = models.ForeignKey(Message, models.CASCADE, related_name="tls_shadows", db_constraint=False)
    at = models.DateTimeField(_("time"))
    destination = models.CharField(_("recipient domain"), max_length=255, db_index=True)
    host = models.CharField(_("remote server"), max_length=255)
    problem = models.CharField(_("problem"), max_length=500, blank=True)  # '' = it would have gone out

    class Meta:
        verbose_name = _("shadow result")
        verbose_name_plural = _("shadow results")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.destination}: {self.problem or 'ok'}"


class SetupEvent(models.Model):
    """One stage a customer's mail server reached while the set-up page was watching (Customer.watched_until)."""

    class Stage(models.TextChoices):
        CONNECTED = "connected", _("connected")
        TLS = "tls", _("encrypted")
        LOGIN = "login", _("logged in")
        SENDER = "sender", _("sender accepted")
        ACCEPTED = "accepted", _("message accepted")

    customer = models.ForeignKey(Customer, models.CASCADE, related_name="setup_events")
    at = models.DateTimeField(_("time"))
    session = models.CharField(max_length=32)
    stage = models.CharField(_("stage"), max_length=10, choices=Stage)
    client_ip = models.GenericIPAddressField(_("client"), null=True)
    reply = models.CharField(_("reply"), max_length=500, blank=True)  # '' = reached, else why it failed there
    message = models.BigIntegerField(null=True)  # of an accepted one

    class Meta:
        verbose_name = _("set-up event")
        verbose_name_plural = _("set-up events")
        ordering = ["id"]
        indexes = [models.Index(fields=["customer", "at"], name="setup_event_by_customer")]

    def __str__(self) -> str:
        return f"{self.stage} {self.reply}"
