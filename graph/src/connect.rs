//! Every member of a layer can be reached from where walks begin.
//!
//! Links are chosen row by row, so now and then nobody keeps a link to an entry: an outlier, one of many equal
//! entries, one whose neighbours went. Such an entry is linked from the nearest reachable one that has room. If
//! none has, it takes the place of the last link of the nearest, and links to what was there:
//!
//! ```text
//!   near ──▶ last           near ──▶ lost ──▶ last
//! ```
//!
//! So what could be reached still can, each step reaches at least one more, and the repair ends.

use crate::growing::Growing;
use crate::{Result, Space};

/// How many reachable entries are looked at for one with room.
const ROOM: usize = 32;

impl<S: Space> Growing<'_, S> {
    /// Repairs every layer. Comes after [`shrink`](Self::shrink): from then on no row loses a link.
    ///
    /// # Errors
    /// What the space says.
    pub fn connect(&mut self) -> Result<()> {
        let Some(mut start) = self.start else { return Ok(()) };
        for layer in (0..self.layers.len()).rev() {
            self.connect_layer(layer, start)?;
            start = self.layers[layer].below.get(start as usize).copied().unwrap_or(start);
        }
        Ok(())
    }

    fn connect_layer(&mut self, layer: usize, start: u32) -> Result<()> {
        let mut reached = vec![false; self.layers[layer].links.len()];
        self.reach(layer, start, &mut reached);
        for lost in 0..reached.len() as u32 {
            if !reached[lost as usize] {
                self.link_to(layer, lost, start)?;
                self.reach(layer, lost, &mut reached);
            }
        }
        Ok(())
    }

    /// Marks what can be reached from `start` and was not marked.
    fn reach(&self, layer: usize, start: u32, reached: &mut [bool]) {
        let links = &self.layers[layer].links;
        let mut open = vec![start];
        reached[start as usize] = true;
        while let Some(position) = open.pop() {
            for &link in links.links(position) {
                if !std::mem::replace(&mut reached[link as usize], true) {
                    open.push(link);
                }
            }
        }
    }

    /// Links the member `lost` from one that can be reached from `start`.
    fn link_to(&mut self, layer: usize, lost: u32, start: u32) -> Result<()> {
        let number = self.layers[layer].name(lost);
        self.look(layer, number, start, ROOM)?;
        let links = &mut self.layers[layer].links;
        for near in self.walk.pool.iter() {
            if links.add(near.position, lost) {
                return Ok(());
            }
        }
        let near = self.walk.pool.nearest().map_or(start, |near| near.position);
        let mut row = links.links(near).to_vec();
        let Some(last) = row.last_mut() else { return Ok(()) };
        let last = std::mem::replace(last, lost);
        links.set(near, &row);
        if !links.add(lost, last) {
            let mut row = links.links(lost).to_vec();
            row.pop();
            row.push(last);
            links.set(lost, &row);
        }
        Ok(())
    }
}
