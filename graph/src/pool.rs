//! What a walk remembers: the nearest entries seen so far, and which were visited.

/// Marks an entry of the pool whose links were followed.
const FOLLOWED: u32 = 1 << 31;

/// A position in a layer, and how far it is from what is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Near {
    pub distance: f32,
    pub position: u32,
}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Near) -> std::cmp::Ordering {
        self.distance.total_cmp(&other.distance).then(self.position.cmp(&other.position))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The nearest so many entries, nearest first; each is followed or still open.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    near: Vec<Near>,
    room: usize,
    /// Of entries at exactly one distance, at most so many.
    equals: usize,
    /// Nothing before it is open.
    open: usize,
}

impl Pool {
    /// Empties the pool, and gives it room for `room` entries, of which at most `equals` may be equally far.
    pub fn reset(&mut self, room: usize, equals: usize) {
        self.near.clear();
        self.room = room.max(1);
        self.equals = equals.max(1);
        self.open = 0;
    }

    /// Whether an entry at `distance` would find room.
    pub fn wants(&self, distance: f32) -> bool {
        match self.near.last() {
            Some(last) if self.room <= self.near.len() => distance < last.distance,
            _ => true,
        }
    }

    /// Adds an entry that is not in it, unless there are enough equals; the farthest makes room. Ask
    /// [`wants`](Self::wants) before.
    pub fn insert(&mut self, near: Near) {
        let at = self.near.partition_point(|other| other.distance <= near.distance);
        let equal = at.checked_sub(self.equals).map(|first| self.near[first].distance);
        if equal == Some(near.distance) {
            return;
        }
        if self.room <= self.near.len() {
            self.near.pop();
        }
        self.near.insert(at, near);
        self.open = self.open.min(at);
    }

    /// The nearest open entry, which is followed from now on.
    pub fn follow(&mut self) -> Option<Near> {
        while let Some(near) = self.near.get_mut(self.open) {
            self.open += 1;
            if near.position & FOLLOWED == 0 {
                let found = *near;
                near.position |= FOLLOWED;
                return Some(found);
            }
        }
        None
    }

    /// What is in it, nearest first.
    pub fn iter(&self) -> impl Iterator<Item = Near> + '_ {
        let plain = |near: &Near| Near { position: near.position & !FOLLOWED, ..*near };
        self.near.iter().map(plain)
    }

    /// The nearest of all.
    pub fn nearest(&self) -> Option<Near> {
        self.iter().next()
    }
}

/// Which positions a walk has seen: one byte each, and forgotten all at once.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    stamps: Vec<u8>,
    stamp: u8,
}

impl Visited {
    /// Forgets everything, and has room for `len` positions.
    pub fn reset(&mut self, len: usize) {
        if self.stamps.len() < len {
            self.stamps.resize(len, 0);
        }
        if self.stamp == u8::MAX {
            self.stamps.fill(0);
            self.stamp = 0;
        }
        self.stamp += 1;
    }

    /// Marks `position`; whether it was not marked before.
    pub fn mark(&mut self, position: u32) -> bool {
        let stamp = &mut self.stamps[position as usize];
        let fresh = *stamp != self.stamp;
        *stamp = self.stamp;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(distance: f32, position: u32) -> Near {
        Near { distance, position }
    }

    #[test]
    fn the_pool_keeps_the_nearest_in_order_and_follows_each_once() {
        let mut pool = Pool::default();
        pool.reset(3, 3);
        for (distance, position) in [(5.0, 1), (3.0, 2), (4.0, 3), (9.0, 4), (1.0, 5)] {
            if pool.wants(distance) {
                pool.insert(near(distance, position));
            }
        }
        let found: Vec<u32> = pool.iter().map(|near| near.position).collect();
        assert_eq!(found, [5, 2, 3]);
        assert_eq!(pool.follow(), Some(near(1.0, 5)));
        pool.insert(near(0.5, 6));
        let followed: Vec<u32> =
            std::iter::from_fn(|| pool.follow()).map(|near| near.position).collect();
        assert_eq!(followed, [6, 2]);
        assert_eq!(pool.iter().map(|near| near.position).collect::<Vec<_>>(), [6, 5, 2]);
    }

    #[test]
    fn a_crowd_of_equals_leaves_room_for_others() {
        let mut pool = Pool::default();
        pool.reset(4, 2);
        for (distance, position) in [(1.0, 1), (1.0, 2), (1.0, 3), (2.0, 4), (1.0, 5), (0.5, 6)] {
            if pool.wants(distance) {
                pool.insert(near(distance, position));
            }
        }
        assert_eq!(pool.iter().map(|near| near.position).collect::<Vec<_>>(), [6, 1, 2, 4]);
    }

    #[test]
    fn visits_are_forgotten_however_often_that_is_asked() {
        let mut visited = Visited::default();
        for _ in 0..1000 {
            visited.reset(4);
            assert!(visited.mark(2), "a new walk has seen nothing");
            assert!(!visited.mark(2), "and remembers what it saw");
        }
    }
}
