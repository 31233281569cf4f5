//! Which panels are where: as many as fit, the more important first, none over another.
//!
//! ```text
//!   narrow: one column         wide: two columns
//!   header                     header
//!   commits                    commits    plugins
//!   latency                    latency    tables
//!   disk                       disk       tenants
//!   plugins                    footer
//!   tables, tenants
//!   footer
//! ```
//!
//! Each panel says how many rows it needs, how many it would like, and how many it can use at most. In a column,
//! panels are taken in the order of importance as long as what they need fits; what is left goes to those taken,
//! row by row, until they have what they like, and then once more until they have the most.

use super::panels::FACT_COLUMNS;
use ratatui::layout::Rect;

/// From here on there are two columns.
const TWO_COLUMNS: u16 = 110;
/// The left one has room for three numbers with their names side by side.
const LEFT_COLUMNS: u16 = 3 * FACT_COLUMNS;

/// A part of the screen, in the order of importance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Panel {
    Commits,
    Latency,
    Disk,
    Plugins,
    Tables,
    Tenants,
}

impl Panel {
    pub const ALL: [Panel; 6] = [
        Panel::Commits,
        Panel::Latency,
        Panel::Disk,
        Panel::Plugins,
        Panel::Tables,
        Panel::Tenants,
    ];

    pub fn title(self) -> &'static str {
        ["Commits", "Commit latency", "Log, disk and memory", "Plugins", "Tables", "Tenants"]
            [self as usize]
    }

    /// Whether it belongs to the right one of two columns.
    fn is_right(self) -> bool {
        matches!(self, Panel::Plugins | Panel::Tables | Panel::Tenants)
    }
}

/// How many rows a panel needs, likes and can use, its title included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    pub needed: u16,
    pub liked: u16,
    pub most: u16,
}

/// The panels that are there and where. `rows` says what a panel would like when it is so wide; nothing when there
/// is nothing to show. The `chosen` panel is the most important one.
pub fn arrange(
    body: Rect,
    chosen: Option<Panel>,
    rows: impl Fn(Panel, u16) -> Option<Rows>,
) -> Vec<(Panel, Rect)> {
    if body.is_empty() {
        return Vec::new();
    }
    if body.width < TWO_COLUMNS {
        return column(body, chosen, &Panel::ALL, &rows);
    }
    let width = (body.width * 2 / 5).max(LEFT_COLUMNS);
    let left = Rect { width, ..body };
    let right = Rect { x: body.x + width + 2, width: body.width - width - 2, ..body };
    let (is_right, is_left): (Vec<_>, Vec<_>) =
        Panel::ALL.into_iter().partition(|panel| panel.is_right());
    let mut all = column(left, chosen, &is_left, &rows);
    all.extend(column(right, chosen, &is_right, &rows));
    all
}

fn column(
    area: Rect,
    chosen: Option<Panel>,
    panels: &[Panel],
    rows: impl Fn(Panel, u16) -> Option<Rows>,
) -> Vec<(Panel, Rect)> {
    let wish = |panel: &Panel| Some((*panel, rows(*panel, area.width)?));
    let mut wishes: Vec<_> = panels.iter().filter_map(wish).collect();
    wishes.sort_by_key(|(panel, _)| (Some(*panel) != chosen, *panel));
    let (mut taken, mut left) = (Vec::new(), area.height);
    for (panel, rows) in wishes {
        // The first one gets whatever there is.
        let needed = if taken.is_empty() { rows.needed.min(left) } else { rows.needed };
        let Some(rest) = left.checked_sub(needed) else { break };
        taken.push((panel, rows, needed));
        left = rest;
    }
    for goal in [|rows: &Rows| rows.liked, |rows: &Rows| rows.most] {
        let mut has_grown = true;
        while has_grown && 0 < left {
            has_grown = false;
            for (_, rows, height) in &mut taken {
                if *height < goal(rows) && 0 < left {
                    (*height, left, has_grown) = (*height + 1, left - 1, true);
                }
            }
        }
    }
    taken.sort_by_key(|(panel, ..)| *panel);
    let mut y = area.y;
    let place = |(panel, _, height)| {
        let rect = Rect { y, height, ..area };
        y += height;
        (panel, rect)
    };
    taken.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(panel: Panel, _: u16) -> Option<Rows> {
        let needed = 3 + panel as u16 % 2;
        (panel != Panel::Tenants).then_some(Rows { needed, liked: needed + 3, most: needed + 6 })
    }

    #[test]
    fn panels_never_overlap_nor_leave_the_screen() {
        for (width, height, chosen) in (1..=260).step_by(7).flat_map(|width| {
            (1..=80).flat_map(move |height| {
                [None, Some(Panel::Tables)].map(|chosen| (width, height, chosen))
            })
        }) {
            let body = Rect { x: 0, y: 1, width, height };
            let placed = arrange(body, chosen, wishes);
            assert!(placed.iter().all(|(_, area)| body.union(*area) == body), "{placed:?}");
            for (i, (_, one)) in placed.iter().enumerate() {
                assert!(placed[..i].iter().all(|(_, other)| !one.intersects(*other)), "{placed:?}");
            }
            assert!(chosen.is_none_or(|chosen| placed.iter().any(|(panel, _)| *panel == chosen)));
        }
    }

    #[test]
    fn the_least_important_panels_go_first_and_the_chosen_one_last() {
        let shown = |height, chosen| -> Vec<Panel> {
            let body = Rect::new(0, 0, 80, height);
            arrange(body, chosen, wishes).into_iter().map(|(panel, _)| panel).collect()
        };
        use Panel::{Commits, Disk, Latency, Plugins, Tables};
        assert_eq!(shown(40, None), [Commits, Latency, Disk, Plugins, Tables]);
        assert_eq!(shown(15, None), [Commits, Latency, Disk, Plugins]);
        assert_eq!(shown(9, None), [Commits, Latency]);
        assert_eq!(shown(9, Some(Tables)), [Commits, Tables]);
        assert_eq!(shown(1, None), [Commits]);
    }
}
