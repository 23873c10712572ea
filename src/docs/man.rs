//! The man page. Verbs and options come from the definition of the command line, settings from their table.

use std::io::{self, Write};

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use crate::config;

#[rustfmt::skip]
const LISTS: &[(&str, &[(&str, &str)])] = &[
    ("EXIT STATUS", &[
        ("0", "Success, or an orderly shutdown."),
        ("1", "health: unhealthy. Serving: an address cannot be bound, the certificate is unusable, or a shutdown lost \
            pending events. Other commands: a file cannot be read, or the output cannot be written."),
        ("2", "The command line or a setting is invalid. The message names its place and what is valid."),
    ]),
    ("SIGNALS", &[
        ("SIGTERM, SIGINT", "Orderly shutdown: uploads in flight are answered, pending events and the last metrics are \
            exported, within delivery.shutdown_timeout. A second one ends the process; pending events are lost."),
        ("SIGHUP", "Reloads the settings, all or nothing."),
    ]),
    ("FILES", &[
        ("/etc/lookoutd/lookoutd.yaml", "Settings, read by the service of a package through --config."),
        ("/var/lib/lookoutd", "Home of the service's user, for the spool (delivery.spool.directory)."),
    ]),
];

/// Writes the page as roff.
pub fn write_man_page(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let man = Man::new(command.clone()).date("\"\"").manual("User Commands");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    let mut page = Roff::new();
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "Without a command, lookoutd serves: it listens for reports, and for scrapes and probes at the admin address. \
         Events go to stdout or to an OTLP collector, diagnostics to stderr.",
    )]);
    page.control("SH", ["COMMANDS"]);
    for verb in command.get_subcommands() {
        write_verb(verb, &mut page);
    }
    page.to_writer(out)?;
    man.render_options_section(out)?;
    let mut page = Roff::new();
    write_environment(&mut page);
    for (head, items) in LISTS {
        page.control("SH", [*head]);
        for (term, text) in *items {
            write_item(vec![bold(*term)], text, &mut page);
        }
    }
    page.to_writer(out)
}

fn write_verb(verb: &Command, page: &mut Roff) {
    let is_own = |arg: &&Arg| !arg.is_global_set() && arg.get_id() != "help";
    let mut line = vec![bold(format!("lookoutd {}", verb.get_name()))];
    for arg in verb.get_arguments().filter(is_own) {
        let arg = if arg.is_positional() { format!(" {arg}") } else { format!(" [{arg}]") };
        line.push(italic(arg));
    }
    write_item(line, &verb.get_about().map(ToString::to_string).unwrap_or_default(), page);
    for arg in verb.get_arguments().filter(is_own) {
        page.control("RS", []);
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        write_item(vec![italic(arg.to_string())], &help, page);
        page.control("RE", []);
    }
}

fn write_environment(page: &mut Roff) {
    page.control("SH", ["ENVIRONMENT"]);
    page.text([roman(
        "Flags take precedence over the environment, then the file, then defaults. Every setting has a variable and a \
         key in the file, which --set accepts too. lookoutd does not start with an unknown LOOKOUT_* \
         variable; an empty one counts as unset.",
    )]);
    write_item(vec![bold("LOOKOUT_CONFIG")], "YAML file with the configuration, as --config.", page);
    for setting in config::reference() {
        let names = std::iter::once(&*setting.variable).chain(setting.otel).collect::<Vec<_>>().join(", ");
        let default = setting
            .default
            .map_or_else(|effect| format!("Not set: {effect}."), |yaml| format!("Default: {yaml}."));
        write_item(vec![bold(names)], &format!("{}: {} {default}", setting.key, setting.comment), page);
    }
}

fn write_item(term: Vec<Inline>, text: &str, page: &mut Roff) {
    page.control("TP", []);
    page.text(term);
    page.text([roman(text)]);
}
