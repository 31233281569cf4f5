//! What the hook `geo` and the procedures of `geo-search` share: places on Earth, as numbers that an ordered index
//! can search. Plain Rust, which knows nothing of plugins.
//!
//! ```text
//!   latitude, longitude ──cell──▶ one number            (the hook, at each write)
//!   an area ──cover──▶ some ranges of such numbers      (the procedures; then each row is looked at)
//! ```

mod area;
mod cell;

pub use area::{Area, circle};
pub use cell::{cell, cover};

/// The mean radius of the Earth, in metres.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// The greatest distance that there is on it: half way round.
pub const DISTANCE_MAX_M: f64 = EARTH_RADIUS_M * std::f64::consts::PI;

/// A place: degrees to the north and to the east.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// −90 to 90.
    pub lat: f64,
    /// −180 to 180; the two are one line.
    pub lon: f64,
}

impl Place {
    /// The place, if there is such a one.
    pub fn new(lat: f64, lon: f64) -> Option<Place> {
        let there_is = (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        there_is.then_some(Place { lat, lon })
    }

    /// Metres from here to `other`, along a great circle of a sphere: up to half a percent off, since the Earth is
    /// none.
    ///
    /// Source: Sinnott 1984, "Virtues of the Haversine".
    pub fn distance_m(self, other: Place) -> f64 {
        let half_sine = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let parallels = self.lat.to_radians().cos() * other.lat.to_radians().cos();
        let chord = half_sine(self.lat, other.lat) + parallels * half_sine(self.lon, other.lon);
        2.0 * EARTH_RADIUS_M * chord.min(1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_a_sphere() {
        let place = |lat, lon| Place::new(lat, lon).unwrap();
        let (berlin, paris) = (place(52.5200, 13.4050), place(48.8566, 2.3522));
        assert!((berlin.distance_m(paris) - 877_500.0).abs() < 1_000.0);
        assert_eq!(berlin.distance_m(berlin), 0.0);
        let pole_to_pole = place(90.0, 0.0).distance_m(place(-90.0, 77.0));
        assert!((pole_to_pole - DISTANCE_MAX_M).abs() < 1.0);
        assert!(place(10.0, 180.0).distance_m(place(10.0, -180.0)) < 1e-6);
        let degree = place(0.0, 179.5).distance_m(place(0.0, -179.5));
        assert!((degree - 111_195.0).abs() < 1.0);
    }

    #[test]
    fn there_is_no_place_beyond_the_poles() {
        for (lat, lon) in [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)] {
            assert_eq!(Place::new(lat, lon), None);
        }
    }
}
