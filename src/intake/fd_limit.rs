//! The system's limit of open files, of which connections must leave some for scrapes, exports and accept.

use rustix::process::{Resource, getrlimit};

/// Returns how many of `requested` connections the limit allows beside `reserved` other files, at least one.
pub fn max_connections(requested: usize, reserved: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return requested };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    requested.min(limit.saturating_sub(reserved)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_connections_are_the_soft_limit_less_the_reserve() {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let soft: usize = line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
        assert_eq!(max_connections(usize::MAX, 0), soft);
        assert_eq!(max_connections(1, 0), 1);
        let unlimited = soft == usize::MAX;
        assert_eq!(max_connections(usize::MAX, usize::MAX), if unlimited { usize::MAX } else { 1 });
        assert_eq!(max_connections(usize::MAX, 10), if unlimited { usize::MAX } else { soft - 10 });
    }
}
