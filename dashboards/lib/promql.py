"""The queries that many panels share: how often something happened, sums, shares, what is new.

A report counter appears with its first value, which increase() does not see. The recording rules of
deploy/prometheus see it, so they are asked first. Where they are not loaded, a series that was not there
before the window counts in full.
"""

from dataclasses import dataclass

# The matcher of the selected sites in every selector of a report counter.
SITE = 'site=~"$site"'
NOISE = 'noise=~"$noise"'
RULES_LOADED = "lookout:memory:begin"
# How long before a window a series is searched for, so that no series is new because of a gap in scraping.
BEFORE = "1h"
DAY_HOURS = 24
# 0 where lookoutd is scraped, nothing where it is not: so a 0 is never a guess.
ZERO = "0 * max(lookout_build_info)"


@dataclass(frozen=True)
class Family:
    """A counter of reports, named without `lookout_` and `_total`, and the labels chosen of it."""

    name: str
    matchers: tuple = ()
    suffix: str = "_total"

    def where(self, *matchers):
        """The same with more labels chosen."""
        return Family(self.name, self.matchers + matchers, self.suffix)

    @property
    def braces(self):
        """The selector's labels."""
        return "{" + ", ".join((SITE, *self.matchers)) + "}"

    @property
    def counter(self):
        """The series as they are scraped."""
        return f"lookout_{self.name}{self.suffix}{self.braces}"

    @property
    def recorded(self):
        """The series of the recording rule."""
        count = "" if self.suffix == "_total" else self.suffix
        return f"lookout:{self.name}{count}:increase{self.braces}"


def filtered(name):
    """A counter that the variable Noise filters."""
    return Family(name, (NOISE,))


REPORTS = Family("reports")
CSP = filtered("csp_violations")
ENFORCED = ('disposition="enforce"',)
REPORT_ONLY = ('disposition="report"',)
REQUESTS = filtered("network_requests_estimated")
# The counters whose reports have a class of noise, by kind. The two kinds of permissions share one; a report that
# lost its labels, because a quota was used up, is of the first.
PERMISSIONS = filtered("permissions_policy_violations")
OF_KIND = {
    "csp-violation": CSP,
    "network-error": filtered("network_reports"),
    "csp-hash": filtered("csp_hashes"),
    "permissions-policy-violation": PERMISSIONS.where('potential!="true"'),
    "potential-permissions-policy-violation": PERMISSIONS.where('potential="true"'),
    "document-policy-violation": filtered("document_policy_violations"),
    "coep": filtered("coep_violations"),
    "coop": filtered("coop_violations"),
    "dip": filtered("dip_violations"),
    "integrity-violation": filtered("integrity_violations"),
    "waict-violation": filtered("waict_violations"),
    "connection-allowlist": filtered("connection_allowlist_violations"),
    "deprecation": filtered("deprecations"),
    "intervention": filtered("interventions"),
    "crash": filtered("crashes"),
}


def counted(family, window="$__range"):
    """The count of each series in the window that ends with the time range."""
    counter = family.counter
    return (f"(sum_over_time({family.recorded}[{window}])"
            f" or (last_over_time({counter}[{window}])"
            f" unless last_over_time({counter}[{BEFORE}] offset {window})"
            f" or increase({counter}[{window}]))"
            f" unless on () {RULES_LOADED})")


def grown(family, window="$__range"):
    """The same of a counter without a recording rule."""
    counter = family.counter
    return (f"(last_over_time({counter}[{window}]) unless last_over_time({counter}[{BEFORE}] offset {window})"
            f" or increase({counter}[{window}]))")


def counted_before(family, hours=DAY_HOURS):
    """Count in the window of `hours` before the last such window."""
    counter, window = family.counter, f"{hours}h"
    return (f"(sum_over_time({family.recorded}[{window}] offset {window})"
            f" or (last_over_time({counter}[{window}] offset {window})"
            f" unless last_over_time({counter}[{BEFORE}] offset {2 * hours}h)"
            f" or increase({counter}[{window}] offset {window}))"
            f" unless on () {RULES_LOADED})")


def in_steps(family):
    """The counts in each step of a graph."""
    return (f"(sum_over_time({family.recorded}[$__interval])"
            f" or increase({family.counter}[$__interval]) unless on () {RULES_LOADED})")


def total(expression, *by):
    """The sum by these labels, or of all."""
    grouping = f" by ({', '.join(by)})" if by else ""
    return f"sum{grouping} ({expression})"


def or_zero(expression):
    """The one number, or 0 when there is none although lookoutd is scraped."""
    return f"{expression} or {ZERO}"


def share(part, whole, *by):
    """A part of the whole, by these labels; nothing where the whole is 0."""
    return f"({total(part, *by)} or 0 * {total(whole, *by)}) / ({total(whole, *by)} > 0)"


def movement(last, before, *by):
    """The difference of two numbers by these labels, without zeros. A missing number is 0."""
    parts = (f'label_replace({last}, "day", "last", "", "")',
             f'label_replace(-1 * {before}, "day", "before", "", "")')
    return f"{total(' or '.join(parts), *by)} != 0"


def new_since_yesterday(family, *by):
    """The label sets of the last day that the week before did not have, and their counts."""
    seen = f"last_over_time({family.counter}[7d] offset 1d)"
    return f"{total(counted(family, '24h'), *by)} > 0 unless {total(seen, *by)}"


def by_kind(count, *by):
    """All reports by kind, filtered by the variable Noise where they have a class of noise."""
    others = total(count(REPORTS.where(f'kind!~"{"|".join(OF_KIND)}"')), *by, "kind")
    own = (total(f'label_replace({count(family)}, "kind", "{kind}", "", "")', *by, "kind")
           for kind, family in OF_KIND.items())
    return " or ".join((others, *own))
