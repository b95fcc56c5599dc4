"""A check, its results, and the lease that keeps it the only one."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from blacklist.models.providers import Provider
from blacklist.models.targets import Target


class CheckRun(models.Model):
    """One pass over targets and lists. An unfinished one whose lease has run out is taken up where it stopped."""

    class Kind(models.TextChoices):
        DAILY = "daily", _("daily check")
        MANUAL = "manual", _("on demand")
        RECHECK = "recheck", _("open tickets")
        RETRY = "retry", _("lists that failed")

    class Phase(models.TextChoices):
        ASKING = "asking", _("asking")
        CONFIRMING = "confirming", _("asking hits again")
        TELLING = "telling", _("working out what is news")
        FINISHED = "finished", _("finished")
        ABANDONED = "abandoned", _("given up")

    kind = models.CharField(_("kind"), max_length=7, choices=Kind)
    phase = models.CharField(_("state"), max_length=10, choices=Phase, default=Phase.ASKING)
    slot = models.DateTimeField(
        _("due"), null=True, unique=True
    )  # the 05:00 this run belongs to: one run for each
    actor = models.CharField(_("started by"), max_length=254, default="system")
    started_at = models.DateTimeField(_("started"))
    finished_at = models.DateTimeField(_("finished"), null=True)
    retry_at = models.DateTimeField(_("second try for failed lists"), null=True, db_index=True)
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, related_name="retries")
    pairs = models.JSONField(
        default=list
    )  # [[target id, provider id], ...] of a partial run; empty = everything
    total = models.PositiveIntegerField(_("questions"), default=0)
    done = models.PositiveIntegerField(_("answered"), default=0)
    counts = models.JSONField(_("results"), default=dict)  # {status: number}
    lists = models.JSONField(
        _("lists"), default=dict
    )  # {slug: {status: number, 'canary': why, 'seconds': s}}
    noted_at = models.DateTimeField(null=True)  # support was told of the findings
    findings = models.JSONField(_("resolver"), default=list)  # [{code, text}]

    class Meta:
        verbose_name = _("check run")
        verbose_name_plural = _("check runs")
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_running(self) -> bool:
        return self.finished_at is None

    @property
    def duration_s(self) -> int:
        """Of a finished run; 0 while it runs."""
        return round((self.finished_at - self.started_at).total_seconds()) if self.finished_at else 0

    @property
    def unknown(self) -> int:
        """Questions without a result."""
        return int(sum(self.counts.get(status, 0) for status in ("provider_error", "dead_list", "timeout")))

    @property
    def percent(self) -> int:
        return min(100, self.done * 100 // self.total) if self.total else 0


class Result(models.Model):
    """What one list said about one target in one run."""

    class StatusChoice(models.TextChoices):
        LISTED = "listed", _("listed")
        NOT_LISTED = "not_listed", _("not listed")
        PROVIDER_ERROR = "provider_error", _("no result: the list refuses or fails")
        DEAD_LIST = "dead_list", _("no result: the list is dead or broken")
        TIMEOUT = "timeout", _("no result: the list is silent")
        NOT_APPLICABLE = "not_applicable", _("not asked")

    run = models.ForeignKey(CheckRun, models.CASCADE, related_name="results")
    target = models.ForeignKey(Target, models.CASCADE, related_name="results", db_index=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="results", db_index=False)
    status = models.CharField(_("result"), max_length=14, choices=StatusChoice)
    codes = models.JSONField(_("codes"), default=list)
    labels = models.JSONField(_("meaning"), default=list)
    raw = models.JSONField(_("answer"), default=list)
    reason = models.CharField(_("reason"), max_length=1000, blank=True)
    severity = models.CharField(_("severity"), max_length=13, blank=True)
    ttl_s = models.PositiveIntegerField(_("TTL"), default=0)
    at = models.DateTimeField(_("time"))
    confirmed = models.BooleanField(_("asked twice"), default=False)

    class Meta:
        verbose_name = _("result")
        verbose_name_plural = _("results")
        constraints = [models.UniqueConstraint("run", "target", "provider", name="result_once")]
        indexes = [
            models.Index(fields=["run", "status"], name="result_by_status"),
            models.Index(fields=["target", "provider", "-id"], name="result_by_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.target_id} {self.provider_id} {self.status}"


class RunLease(models.Model):
    """One row: who runs a check just now, on whatever node. A holder that stops renewing loses it."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    owner = models.CharField(max_length=100, blank=True)
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.owner
