"""The web platform: deprecated features, pages that crash, and policies other than CSP."""

from lib import colors
from lib.board import Board, of_reports
from lib.logql import events, link_to_events
from lib.panels import PanelInfo, bars, number, ranking, recent
from lib.promql import (ENFORCED, REPORT_ONLY, counted, filtered, in_steps, new_since_yesterday,
                        or_zero, total)
from lib.tables import Column, listing

DEPRECATIONS, INTERVENTIONS = filtered("deprecations"), filtered("interventions")
CRASHES, HASHES = filtered("crashes"), filtered("csp_hashes")
PERMISSIONS = ("permissions-policy-violation", "potential-permissions-policy-violation")
# A policy's counter, its kinds of reports, its name in a legend, and the labels that identify a row.
POLICIES = {
    "permissions_policy_violations": (PERMISSIONS, "permissions", ("feature", "potential", "disposition")),
    "document_policy_violations": (("document-policy-violation",), "document", ("feature", "disposition")),
    "coep_violations": (("coep",), "COEP", ("violation", "destination", "blocked", "disposition")),
    "coop_violations": (("coop",), "COOP", ("violation", "policy", "disposition")),
    "integrity_violations": (("integrity-violation",), "integrity",
                             ("destination", "blocked", "disposition")),
    "dip_violations": (("dip",), "isolation", ("destination", "blocked", "disposition")),
    "connection_allowlist_violations": (("connection-allowlist",), "allowlist", ("blocked", "disposition")),
    "waict_violations": (("waict-violation",), "WAICT", ("reason", "disposition")),
}
ALL_POLICIES = [kind for kinds, _, _ in POLICIES.values() for kind in kinds]
# How far back a first report is searched for, and in which steps.
SIGHT, EXACTLY = "30d", "10m"


def row(*kinds, where=()):
    """A link from a row to the events of its site and kinds."""
    return (("Show events", link_to_events(*kinds, site="${__data.fields.site}", where=where)),)


def first_seen(family):
    """When the feature was first reported, in milliseconds since 1970."""
    counter = family.counter
    return (f"1000 * min by (site, id) (min_over_time(timestamp({counter})[{SIGHT}:{EXACTLY}])"
            f" or timestamp({counter}))")


def features(title, description, family, kind, attribute):
    """A table of features by their id, with the time of their first report."""
    return listing(PanelInfo(title, description + f" First seen covers the last {SIGHT[:-1]} days.",
                             row(kind, where=(f'{attribute}="${{__data.fields.id}}"',))), ("site", "id"),
                   Column("Reports", f"{total(counted(family), 'site', 'id')} > 0"),
                   Column("First seen",
                          f"{first_seen(family)} and {total(counted(family), 'site', 'id')} > 0",
                          unit="dateTimeFromNow", limit=False))


def policy(title, description, name, width=8):
    """A table of a policy's violations."""
    kinds, _, labels = POLICIES[name]
    return listing(PanelInfo(title, description, row(*kinds), width=width), ("site", *labels),
                   Column("Violations", total(counted(filtered(name)), "site", *labels)))


def simple(title, description, expression, kinds, *steps):
    """One number about these kinds."""
    return number(PanelInfo(title, description, (("Show events", link_to_events(*kinds)),),
                            width=4, height=4), or_zero(expression), *steps)


def policies(*matchers):
    """All violations of these policies."""
    return " or ".join(f'label_replace({counted(filtered(name).where(*matchers))}, "family", "{name}", "", "")'
                       for name in POLICIES)


NUMBERS = (
    simple("Crashes", "Pages that crashed. The user lost everything typed into them.", total(counted(CRASHES)),
           ("crash",), (None, colors.GOOD), (1, colors.BAD)),
    simple("Deprecated features in use", "Features that pages use and browsers will remove.",
           f"count({total(counted(DEPRECATIONS), 'id')} > 0)", ("deprecation",)),
    simple("New deprecations since yesterday", "Deprecated features of the last 24 hours that did not occur "
           "in the week before.", f"count({new_since_yesterday(DEPRECATIONS, 'site', 'id')})", ("deprecation",),
           (None, colors.GOOD), (1, colors.WARNING)),
    simple("Interventions", "Requests of pages that the browser did not carry out, to protect the user.",
           total(counted(INTERVENTIONS)), ("intervention",)),
    simple("Enforced policies hit", "Violations of policies other than CSP in which a browser blocked "
           "something.", total(policies(*ENFORCED)), ALL_POLICIES,
           (None, colors.GOOD), (1, colors.WARNING)),
    simple("Report-only policies hit", "What report-only policies other than CSP would have blocked.",
           total(policies(*REPORT_ONLY)), ALL_POLICIES),
)

FEATURES = (
    features("Which deprecated features are in use, since when?", "Each feature will stop working when "
             "browsers remove it. The event contains the line of the script.", DEPRECATIONS, "deprecation",
             "deprecation_id"),
    features("Where do browsers intervene?", "Actions that browsers blocked or changed.", INTERVENTIONS,
             "intervention", "intervention_id"),
    bars(PanelInfo("Deprecated features over time", "A color that ends shows that the use was removed.",
                   (("Show events", link_to_events(
                       "deprecation", where=('deprecation_id="${__field.labels.id}"',))),), width=24),
         (total(in_steps(DEPRECATIONS), "id"), "{{id}}")),
)

CRASHED = (
    bars(PanelInfo("Crashes by reason", "oom: out of memory; unresponsive: the page hung; none: the browser "
                   "sent no reason.", (("Show events", link_to_events("crash")),)),
         (total(in_steps(CRASHES), "reason"), "{{reason}}")),
    listing(PanelInfo("Where do pages crash?", "A crash in the background (hidden) affects the user less than a "
                      "visible one.", row("crash")), ("site", "reason", "visibility"),
            Column("Crashes", total(counted(CRASHES), "site", "reason", "visibility"))),
)

OTHERS = (
    bars(PanelInfo("Violations by policy", "All policies except CSP, enforced and report-only.",
                   (("Show events", link_to_events(*ALL_POLICIES)),), width=24),
         *((total(in_steps(filtered(name))), legend) for name, (_, legend, _) in POLICIES.items())),
    policy("Permissions policy", "Features that a page or a frame used without permission. potential: a "
           "frame requests a feature that it will not get.", "permissions_policy_violations", 12),
    policy("Document policy", "Features that the page's document policy forbids.",
           "document_policy_violations", 12),
    policy("Cross-origin embedder policy (COEP)", "Cross-origin resources that do not allow being "
           "embedded.", "coep_violations", 12),
    policy("Document isolation policy", "Resources that an isolated page may not embed.", "dip_violations", 12),
    policy("Cross-origin opener policy (COOP)", "Windows that were, or would be, separated from their opener.",
           "coop_violations", 12),
    policy("Integrity policy", "Scripts and styles without the integrity metadata that the policy requires.",
           "integrity_violations", 12),
    policy("Connection allowlist", "Connections to destinations outside the allowlist: where data went, or would "
           "have gone.", "connection_allowlist_violations"),
    policy("Web application integrity (WAICT)", "Resources that the page's manifest does not cover, and manifests "
           "that could not be used.", "waict_violations"),
    ranking(PanelInfo("Script hashes", "With report-sha256 in a policy, browsers report "
                      "the hash of each script: an inventory, not a problem. The events name the scripts.",
                      (("Show events", link_to_events("csp-hash")),), width=8),
            total(counted(HASHES), "site", "destination"), "{{site}}, {{destination}}"),
)

EVENTS = (
    recent(PanelInfo("Recent events", "Deprecations, interventions, crashes and violations of the policies "
                     "above, the newest first.", (("All events", link_to_events()),), width=24, height=12,
                     no_data="No such events in this time range"),
           events("deprecation", "intervention", "crash", "csp-hash", *ALL_POLICIES)),
)

BOARD = Board("lookoutd-platform", "lookoutd: web platform",
              "Deprecated features, interventions, crashes, and policies other than CSP.",
              (("What needs work?", NUMBERS), ("What will stop working?", FEATURES),
               ("What crashes?", CRASHED), ("What do the other policies block?", OTHERS),
               ("Which exactly?", EVENTS)), of_reports())
