//! Areas between two parallels and two meridians, and what of them a circle needs.

use crate::{EARTH_RADIUS_M, Place};

/// All places between these degrees, the edges included. West is not above east: what lies across the line where
/// 180 meets −180 is two areas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Area {
    /// Its least latitude.
    pub south: f64,
    /// Its least longitude.
    pub west: f64,
    /// Its greatest latitude.
    pub north: f64,
    /// Its greatest longitude.
    pub east: f64,
}

impl Area {
    /// The areas from `west` to `east` going east: two when 180 degrees lie between them. `None` when these are no
    /// degrees, or north lies below south.
    pub fn new(south: f64, west: f64, north: f64, east: f64) -> Option<Vec<Area>> {
        Place::new(south, west)?;
        Place::new(north, east)?;
        if north < south {
            return None;
        }
        Some(match west <= east {
            true => vec![Area { south, west, north, east }],
            false => vec![
                Area { south, west, north, east: 180.0 },
                Area { south, west: -180.0, north, east },
            ],
        })
    }

    /// Whether `place` lies in it.
    pub fn has(&self, place: Place) -> bool {
        let Area { south, west, north, east } = *self;
        (south..=north).contains(&place.lat) && (west..=east).contains(&place.lon)
    }

    pub(crate) fn contains(&self, other: &Area) -> bool {
        self.south <= other.south
            && other.north <= self.north
            && self.west <= other.west
            && other.east <= self.east
    }

    pub(crate) fn touches(&self, other: &Area) -> bool {
        self.south <= other.north
            && other.south <= self.north
            && self.west <= other.east
            && other.west <= self.east
    }
}

/// Areas that have every place within `radius_m` metres of `centre`, and little more: all the way round where a pole
/// is among them.
///
/// Source: the bounding meridians of a circle on a sphere, Bronstein and Semendjajew, "Spherical trigonometry".
pub fn circle(centre: Place, radius_m: f64) -> Vec<Area> {
    // A little more than asked for, since the last digits of sines differ.
    let angle = (radius_m / EARTH_RADIUS_M).abs() * (1.0 + 1e-9) + 1e-9;
    let (south, north) = (centre.lat - angle.to_degrees(), centre.lat + angle.to_degrees());
    let widest = angle.sin() / centre.lat.to_radians().cos();
    if south <= -90.0 || 90.0 <= north || 1.0 <= widest {
        let (south, north) = (south.max(-90.0), north.min(90.0));
        return vec![Area { south, west: -180.0, north, east: 180.0 }];
    }
    let wide = widest.asin().to_degrees();
    let round = |lon: f64| match lon {
        lon if lon < -180.0 => lon + 360.0,
        lon if 180.0 < lon => lon - 360.0,
        lon => lon,
    };
    let (west, east) = (round(centre.lon - wide), round(centre.lon + wide));
    Area::new(south, west, north, east).expect("these are degrees, and south lies below north")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn areas_across_the_date_line_are_two() {
        let fiji = Area::new(-20.0, 177.0, -15.0, -178.0).unwrap();
        let is_in = |lat, lon| fiji.iter().any(|area| area.has(Place { lat, lon }));
        assert_eq!(fiji.len(), 2);
        assert!(is_in(-17.0, 179.0) && is_in(-17.0, -179.0) && is_in(-17.0, 180.0));
        assert!(!is_in(-17.0, 0.0) && !is_in(-21.0, 179.0));
        assert_eq!(Area::new(1.0, 0.0, 0.0, 1.0), None);
        assert_eq!(Area::new(0.0, 0.0, 91.0, 1.0), None);
    }

    #[test]
    fn a_circle_around_a_pole_goes_all_the_way_round() {
        let [area] = circle(Place { lat: 89.9, lon: 10.0 }, 50_000.0)[..] else {
            panic!("one area")
        };
        assert_eq!((area.west, area.north, area.east), (-180.0, 90.0, 180.0));
        assert!((area.south - 89.45).abs() < 0.01);
        let earth = circle(Place { lat: 0.0, lon: 0.0 }, 30_000_000.0);
        assert!(earth.iter().any(|area| area.has(Place { lat: -90.0, lon: 180.0 })));
    }

    proptest! {
        #[test]
        fn no_place_of_a_circle_is_missed(
            lat in -90.0..=90.0_f64, lon in -180.0..=180.0_f64,
            to_lat in -90.0..=90.0_f64, to_lon in -180.0..=180.0_f64,
            near in prop::bool::ANY,
        ) {
            let centre = Place { lat, lon };
            let place = match near {
                true => Place { lat: (lat + to_lat / 90.0).clamp(-90.0, 90.0), lon: to_lon },
                false => Place { lat: to_lat, lon: to_lon },
            };
            let areas = circle(centre, centre.distance_m(place));
            prop_assert!(areas.iter().any(|area| area.has(place)), "{areas:?}");
        }
    }
}
