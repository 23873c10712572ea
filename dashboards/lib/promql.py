"""The queries that many panels share: how often something was counted, sums, shares, what is new.

Counts come from the recording rules of deploy/prometheus/counts.rules.yml, because increase() misses the first
value of a series.
"""

from dataclasses import dataclass

# The processes that are selected.
PROCESS = 'environment=~"$environment",job=~"$job",instance=~"$instance"'
SITE = PROCESS + ',site=~"$site"'
NOISE = 'noise=~"$noise"'
# 0 where lookoutd is scraped, nothing where it is not: so a 0 is never a guess.
ZERO = "0*max(lookout_build_info)"
# The series of a graph, with the sum of all others as one of them.
MOST = 9


@dataclass(frozen=True)
class Family:
    """A counter, named without `lookout_` and `_total`, and the labels chosen of it."""

    name: str
    matchers: tuple = ()

    def where(self, *matchers):
        """The same with more labels chosen."""
        return Family(self.name, self.matchers + matchers)

    @property
    def counter(self):
        """The series as they are scraped."""
        return f"lookout_{self.name}_total{{{','.join((SITE, *self.matchers))}}}"

    @property
    def recorded(self):
        """The series of the recording rule."""
        family = self.name if self.name[0] in "=!" else f'="{self.name}"'
        return f"lookout:counts:increase{{family{family},{','.join((SITE, *self.matchers))}}}"


def filtered(name):
    """A counter that the variable Noise filters."""
    return Family(name, (NOISE,))


REPORTS = Family("reports")
CSP = filtered("csp_violations")
ENFORCED = ('disposition="enforce"',)
REPORT_ONLY = ('disposition="report"',)
REQUESTS = filtered("network_requests_estimated")
FINDINGS = filtered("new_findings").where('clients="1"')
CLIENTS = filtered("affected_clients")


def counted(family, window="$__range"):
    """The count of each series in the window that ends with the time range."""
    return f"sum_over_time({family.recorded}[{window}])"


def in_steps(family):
    """The counts in each step of a graph."""
    return counted(family, "$__interval")


def total(expression, *by):
    """The sum by these labels, or of all."""
    grouping = f" by({','.join(by)})" if by else ""
    return f"sum{grouping}({expression})"


def most(family, label):
    """Two queries of a graph: the greatest values of a label over the whole range, and the sum of the others."""
    each, ranked = total(in_steps(family), label), greatest(family, label, MOST)
    return ((f"{each} and on({label}) {ranked}", f"{{{{{label}}}}}"), (f"sum({each} unless on({label}) {ranked})", "all others"))


def greatest(family, label, number):
    """The greatest values of a label over the whole range, of all processes."""
    everywhere = family.recorded.replace(PROCESS + ",", "")
    return f"topk({number},{total(f'sum_over_time({everywhere}[$__range] @ end())', label)})"


def or_zero(expression):
    """The one number, or 0 when there is none although lookoutd is scraped."""
    return f"{expression} or {ZERO}"


def share(part, whole):
    """A part of the whole; nothing where the whole is 0."""
    return f"({total(part)} or vector(0))/({total(whole)}>0)"


def day(family, before=False):
    """The counts of the last 24 hours, or of the 24 hours before."""
    return f"sum_over_time({family.recorded}[1d]{' offset 1d' if before else ''})"


def new_since_yesterday(family, *by):
    """The label sets of the last day that the week before did not have, and their counts."""
    return f"{total(day(family), *by)}>0 unless {total(f'last_over_time({family.counter}[7d] offset 1d)', *by)}"
