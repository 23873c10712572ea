//! When a report's event occurred. Its untrusted `age` moves the time back by a day at most, never forward.

use jiff::{SignedDuration, Timestamp};

use crate::model::{Age, Value};

/// Maximum age in milliseconds.
const MAX_AGE: u64 = 24 * 60 * 60 * 1000;

/// Returns the clamped age in milliseconds, and the time that it leads back to.
pub(super) fn occurred(age: &Age<'_>, received: Timestamp) -> (u64, Timestamp) {
    let age = match age {
        // The cast saturates: a negative number becomes 0.
        Age::Milliseconds(value) => value.as_ref().and_then(Value::as_f64).unwrap_or(0.0) as u64,
        Age::At(time) => age_at(time.as_deref(), received),
    };
    if age == 0 {
        return (0, received);
    }
    let age = age.min(MAX_AGE);
    let back = SignedDuration::from_millis(i64::try_from(age).unwrap_or(0));
    (age, received.checked_sub(back).unwrap_or(received))
}

fn age_at(time: Option<&str>, received: Timestamp) -> u64 {
    let Some(Ok(time)) = time.map(str::parse::<Timestamp>) else { return 0 };
    u64::try_from(received.duration_since(time).as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn age(value: Value<'_>) -> u64 {
        let received = "2026-11-22T12:00:00Z".parse().unwrap();
        let (age, occurred) = occurred(&Age::Milliseconds(Some(value)), received);
        assert!(occurred <= received);
        age
    }

    #[test]
    fn age_out_of_range_is_clamped() {
        assert_eq!(age(Value::Integer(1500)), 1500);
        assert_eq!(age(Value::Float(1500.9)), 1500);
        assert_eq!(age(Value::String("1500".into())), 1500);
        assert_eq!(age(Value::Integer(-5)), 0);
        assert_eq!(age(Value::Null), 0);
        assert_eq!(age(Value::Float(1e300)), MAX_AGE);
        assert_eq!(age(Value::Integer(i64::MAX)), MAX_AGE);
    }

    #[test]
    fn date_becomes_a_clamped_age() {
        let received: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |text: &'static str| occurred(&Age::At(Some(text.into())), received).0;
        assert_eq!(of("2026-11-22T11:59:59Z"), 1000);
        assert_eq!(of("2026-11-22T12:00:01Z"), 0);
        assert_eq!(of("2014-04-06T13:00:50Z"), MAX_AGE);
        assert_eq!(of("yesterday"), 0);
    }
}
