//! The settings of the admin listener, its secrets among them.

use super::DefaultValue::{Unset, Yaml};
use super::{Setting, assign, assign_some};
use crate::config::values;

pub(super) static SETTINGS: &[Setting] = &[
    Setting {
        key: "admin.unready_after",
        default: Yaml("off"),
        comment: "When an export has failed for longer, /-/ready answers 503: off or a duration.",
        set: |d, n| assign(&mut d.admin.unready_after, values::duration_or_off(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin.auth.bearer",
        default: Unset("no token is asked for"),
        comment: "The bearer token that admin asks for, except for /-/healthy and /-/ready.",
        secret: true,
        set: |d, n| assign_some(&mut d.auth.bearer, values::secret(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin.auth.bearer_file",
        default: Unset("admin.auth.bearer"),
        comment: "File that holds the bearer token, in one line.",
        set: |d, n| assign_some(&mut d.auth.bearer_file, values::path(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin.auth.username",
        default: Unset("no password is asked for"),
        comment: "The user name that admin asks for with the password. A bearer token, if set, does as well.",
        set: |d, n| assign_some(&mut d.auth.username, values::user_name(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin.auth.password",
        default: Unset("no password is asked for"),
        comment: "The password of admin.auth.username.",
        secret: true,
        set: |d, n| assign_some(&mut d.auth.password, values::secret(n)),
        ..Setting::BASE
    },
    Setting {
        key: "admin.auth.password_file",
        default: Unset("admin.auth.password"),
        comment: "File that holds the password, in one line.",
        set: |d, n| assign_some(&mut d.auth.password_file, values::path(n)),
        ..Setting::BASE
    },
];
