//! A graph in memory, and one that entries are inserted into.
//!
//! ```text
//!   layer 2        A ─────────────── F            names: which entries; below: where they are in layer 1
//!   layer 1        A ── C ────────── F ── H
//!   layer 0        A  B  C  D  E  F  G  H  I      the ground: every entry, at the position of its number
//! ```
//!
//! An entry is inserted from the top down. Above its own highest layer the walk only looks for the nearest entry,
//! from which it goes on below. From there on a wide walk finds candidates, the best become the new entry's
//! links, and each of them links back. A row without room chooses again among its links and the new one.
//!
//! Equal entries, of which there may be many, are at most half of the candidates: the others lead out of the crowd.

use crate::links::Links;
use crate::options::{Kind, Shape};
use crate::prune::Pruner;
use crate::walk::{Entry, Scope, Walk};
use crate::{Result, Space};

/// One layer of a graph.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    /// Which entry each member is; empty on the ground.
    pub names: Vec<u32>,
    /// Where each member is in the layer below; empty on the ground.
    pub below: Vec<u32>,
    pub links: Links,
}

/// A graph, whole and in memory.
#[derive(Debug, Clone)]
pub struct Graph {
    pub(crate) kind: Kind,
    /// Slots of a row on the ground, and on the layers above.
    pub(crate) slots: usize,
    pub(crate) upper_slots: usize,
    /// The ground first; never empty.
    pub(crate) layers: Vec<Layer>,
    /// Where walks begin: a position in the last layer. 0 in a graph without entries.
    pub(crate) start: u32,
}

impl Layer {
    /// The entry at `position`.
    pub fn name(&self, position: u32) -> u32 {
        self.names.get(position as usize).copied().unwrap_or(position)
    }

    pub fn scope(&self, room: usize) -> Scope<'_> {
        let len = self.links.len();
        Scope { len, names: &self.names, room, equals: room.div_ceil(2), allowed: &[] }
    }
}

impl Graph {
    /// How many entries it has.
    pub fn len(&self) -> u32 {
        self.layers[0].links.len() as u32
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many layers it has, the ground included.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The links of entry `number` on the ground. Panics if there is no such entry.
    pub fn links(&self, number: u32) -> &[u32] {
        self.layers[0].links.links(number)
    }

    /// Where walks begin, as an entry.
    pub fn start(&self) -> u32 {
        self.layers[self.layers.len() - 1].name(self.start)
    }
}

/// A graph that entries are inserted into.
pub(crate) struct Growing<'a, S> {
    pub space: &'a mut S,
    pub shape: Shape,
    pub layers: Vec<Layer>,
    /// Where walks begin: a position in the last layer.
    pub start: Option<u32>,
    pub walk: Walk,
    pub pruner: Pruner,
    spare: Vec<u32>,
}

impl<'a, S: Space> Growing<'a, S> {
    /// A graph whose ground has room for every entry of `space`, and none in it.
    pub fn new(space: &'a mut S, shape: Shape) -> Self {
        let ground = Links::new(space.len() as usize, roomy(shape.slots));
        let layers = vec![Layer { links: ground, ..Layer::default() }];
        let (walk, pruner) = (Walk::default(), Pruner::default());
        Growing { space, shape, layers, start: None, walk, pruner, spare: Vec::new() }
    }

    /// The most links of a row of this layer in the end.
    pub fn slots(&self, layer: usize) -> usize {
        if layer == 0 { self.shape.slots } else { self.shape.upper_slots }
    }

    /// An empty layer above the ground.
    pub fn upper_layer(&self) -> Layer {
        let links = Links::new(0, roomy(self.shape.upper_slots));
        Layer { links, ..Layer::default() }
    }

    /// Inserts entry `number` into the layers from `lowest` to `level`, on none of which it is. The ground is
    /// layer 0; where it is not on the layers below `lowest` already, that is 0.
    ///
    /// # Errors
    /// What the space says.
    pub fn insert(&mut self, number: u32, lowest: usize, level: usize) -> Result<()> {
        let top = self.layers.len() - 1;
        let positions = self.settle(number, level);
        let Some(mut at) = self.start else {
            self.start = Some(positions[level]);
            return Ok(());
        };
        for layer in (lowest..=top).rev() {
            at = match positions.get(layer) {
                Some(&position) => self.link(layer, position, at)?,
                None => self.nearest(layer, number, at)?,
            };
            at = self.layers[layer].below.get(at as usize).copied().unwrap_or(at);
        }
        if top < level {
            self.start = Some(positions[level]);
        }
        Ok(())
    }

    /// Gives `number` its rows, still empty; returns its position in each layer, from the ground up.
    fn settle(&mut self, number: u32, level: usize) -> Vec<u32> {
        let mut positions = vec![number];
        for layer in 1..=level {
            if self.layers.len() == layer {
                let new = self.upper_layer();
                self.layers.push(new);
            }
            let home = &mut self.layers[layer];
            home.below.push(positions[layer - 1]);
            positions.push(home.names.len() as u32);
            home.names.push(number);
            home.links.push();
        }
        positions
    }

    /// The position nearest to entry `number` that a narrow walk from `at` finds.
    fn nearest(&mut self, layer: usize, number: u32, at: u32) -> Result<u32> {
        self.look(layer, number, at, 1)?;
        Ok(self.walk.pool.nearest().map_or(at, |near| near.position))
    }

    /// Walks towards entry `number`; what it finds is in `walk`.
    ///
    /// # Errors
    /// What the space says.
    pub fn look(&mut self, layer: usize, number: u32, at: u32, room: usize) -> Result<()> {
        let layer = &self.layers[layer];
        let mut target = Entry { space: &mut *self.space, number };
        self.walk.run(&layer.scope(room), &mut &layer.links, &mut target, &[at])
    }

    /// Finds links for the member at `position` by a wide walk from `at`; returns the nearest that it found.
    ///
    /// # Errors
    /// What the space says.
    pub fn link(&mut self, layer: usize, position: u32, at: u32) -> Result<u32> {
        let number = self.layers[layer].name(position);
        self.look(layer, number, at, self.shape.beam)?;
        let nearest = self.walk.pool.nearest().map_or(at, |near| near.position);
        let candidates = &mut self.pruner.candidates;
        candidates.clear();
        candidates.extend(self.walk.pool.iter());
        candidates.retain(|near| near.position != position);
        let wanted = self.shape.chosen.min(self.slots(layer));
        let names = &self.layers[layer].names;
        self.pruner.choose(self.space, names, wanted, self.shape.alpha)?;
        self.layers[layer].links.set(position, &self.pruner.chosen);
        self.link_back(layer, position)?;
        Ok(nearest)
    }

    /// Links what was just chosen for the member at `position` back to it.
    pub fn link_back(&mut self, layer: usize, position: u32) -> Result<()> {
        let mut chosen = std::mem::take(&mut self.spare);
        chosen.clear();
        chosen.extend_from_slice(&self.pruner.chosen);
        for &neighbour in &chosen {
            if !self.layers[layer].links.add(neighbour, position) {
                self.choose_again(layer, neighbour, Some(position))?;
            }
        }
        self.spare = chosen;
        Ok(())
    }

    /// Lets the member at `position` choose anew among its links and perhaps one more.
    fn choose_again(&mut self, layer: usize, position: u32, more: Option<u32>) -> Result<()> {
        let slots = self.slots(layer);
        let home = &mut self.layers[layer];
        let name = home.name(position);
        self.pruner.candidates.clear();
        self.pruner.compare(self.space, name, &home.names, home.links.links(position))?;
        if let Some(more) = more {
            self.pruner.compare(self.space, name, &home.names, &[more])?;
        }
        self.pruner.choose(self.space, &home.names, slots, self.shape.alpha)?;
        home.links.set(position, &self.pruner.chosen);
        Ok(())
    }

    /// Lets each row that has more links than it may have in the end choose again, and gives back the room.
    ///
    /// # Errors
    /// What the space says.
    pub fn shrink(&mut self) -> Result<()> {
        for layer in 0..self.layers.len() {
            let slots = self.slots(layer);
            for position in 0..self.layers[layer].links.len() as u32 {
                if slots < self.layers[layer].links.links(position).len() {
                    self.choose_again(layer, position, None)?;
                }
            }
            self.layers[layer].links.narrow(slots);
        }
        Ok(())
    }
}

/// Slots of a row while the graph grows, if there are `slots` in the end.
fn roomy(slots: usize) -> usize {
    slots + slots / 2
}
