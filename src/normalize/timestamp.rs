//! When a report happened. Its `age` is the sender's word and may be anything; it can move the moment
//! back by at most a day, and never into the future.

use jiff::{SignedDuration, Timestamp};

use crate::model::Age;

/// Older than this is not believed, in milliseconds.
const MAX_AGE: u64 = 24 * 60 * 60 * 1000;

/// The age in milliseconds, clamped, and the moment it leads back to.
pub(super) fn occurred(age: &Age<'_>, received: Timestamp) -> (u64, Timestamp) {
    let age = match age {
        Age::Milliseconds(value) => {
            let number = value.as_ref().and_then(crate::model::Value::as_f64).unwrap_or(0.0);
            // The cast saturates: what is negative becomes 0.
            (number as u64).min(MAX_AGE)
        }
        Age::At(moment) => since(moment.as_deref(), received),
    };
    if age == 0 {
        return (0, received);
    }
    let back = SignedDuration::from_millis(i64::try_from(age).unwrap_or(0));
    (age, received.checked_sub(back).unwrap_or(received))
}

fn since(moment: Option<&str>, received: Timestamp) -> u64 {
    let Some(Ok(moment)) = moment.map(str::parse::<Timestamp>) else { return 0 };
    let age = received.duration_since(moment).as_millis();
    u64::try_from(age.clamp(0, MAX_AGE.into())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn age(value: Value<'_>) -> u64 {
        let received = "2026-11-22T12:00:00Z".parse().unwrap();
        let (age, occurred) = occurred(&Age::Milliseconds(Some(value)), received);
        assert!(occurred <= received);
        age
    }

    #[test]
    fn an_absurd_age_is_none() {
        assert_eq!(age(Value::Integer(1500)), 1500);
        assert_eq!(age(Value::Float(1500.9)), 1500);
        assert_eq!(age(Value::String("1500".into())), 1500);
        assert_eq!(age(Value::Integer(-5)), 0);
        assert_eq!(age(Value::Null), 0);
        assert_eq!(age(Value::Float(1e300)), MAX_AGE);
        assert_eq!(age(Value::Integer(i64::MAX)), MAX_AGE);
    }

    #[test]
    fn a_date_becomes_an_age() {
        let received: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |text: &'static str| occurred(&Age::At(Some(text.into())), received).0;
        assert_eq!(of("2026-11-22T11:59:59Z"), 1000);
        assert_eq!(of("2026-11-22T12:00:01Z"), 0);
        assert_eq!(of("2014-04-06T13:00:50Z"), MAX_AGE);
        assert_eq!(of("yesterday"), 0);
    }
}
