//! The system's limit of open files is also one of connections. Taken up by clients, it would leave
//! nothing to a scrape, to the exports and to whoever waits at accept.

/// Connections out of `requested` that the limit allows when `reserved` files are left for everything else.
pub fn max_connections(requested: usize, reserved: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    match soft_limit(&limits) {
        Some(limit) => requested.min(limit.saturating_sub(reserved)).max(1),
        None => requested,
    }
}

/// `None`: there is no limit, or none that can be read.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_counts() {
        let limits =
            |line: &str| format!("Max processes  7  8  processes\n{line}\nMax locked memory  1  2  bytes\n");
        assert_eq!(
            soft_limit(&limits("Max open files            1024       524288       files     ")),
            Some(1024)
        );
        assert_eq!(soft_limit(&limits("Max open files            unlimited  unlimited    files     ")), None);
        assert_eq!(soft_limit(""), None);
    }

    #[test]
    fn what_is_reserved_is_not_given_away() {
        let all = max_connections(usize::MAX, 0);
        assert_eq!(max_connections(1, 0), 1);
        assert_eq!(max_connections(usize::MAX, usize::MAX), if all == usize::MAX { all } else { 1 });
        if all < usize::MAX {
            assert_eq!(max_connections(usize::MAX, 10), all - 10);
        }
    }
}
