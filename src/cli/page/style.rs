//! Colours and measures of the page.
//!
//! The colours of encodings are those of Okabe and Ito, which people who see colours differently can tell apart.

/// How many colours there are for encodings; more begin again.
pub const COLOURS: usize = 8;

pub const SHEET: &str = r"
:root { color-scheme: light dark; --ground: #fbfaf7; --card: #ffffff; --ink: #1d2329; --soft: #5c6670;
  --line: #e2dfd8; --bar: #2f6f8f; --rest: #eceae4; --good: #1f7a4d; --warn: #b25e00; --bad: #b3261e;
  --c0: #0072b2; --c1: #e69f00; --c2: #009e73; --c3: #cc79a7; --c4: #56b4e9; --c5: #d55e00; --c6: #b8a900; --c7: #7f7f7f }
@media (prefers-color-scheme: dark) { :root { --ground: #14181c; --card: #1c2228; --ink: #e8eaec; --soft: #9aa5b0;
  --line: #2e363e; --bar: #62a8cc; --rest: #2a3138; --good: #5cc48f; --warn: #f0a24a; --bad: #ff8a80;
  --c0: #4aa3df; --c6: #d8cb3a; --c7: #9a9a9a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.45 system-ui, sans-serif;
  font-variant-numeric: tabular-nums }
main { max-width: 68rem; margin: 0 auto; padding: 2rem 1.2rem 4rem }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.15rem; margin: 2.4rem 0 .7rem }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere } h4 { font-size: .85rem; margin: 1.2rem 0 .4rem; color: var(--soft) }
p { margin: .3rem 0 } .soft { color: var(--soft) } .small { font-size: .85rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem; margin: .8rem 0 }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem; margin-top: 1.2rem }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem .9rem }
.tile b { display: block; font-size: 1.25rem; font-weight: 600 } .tile span { color: var(--soft); font-size: .82rem }
.rows { display: grid; grid-template-columns: minmax(3.5rem, max-content) minmax(6rem, 1fr) minmax(7rem, max-content);
  gap: .3rem .8rem; align-items: center } .rows > * { min-width: 0 } .rows .name { overflow-wrap: anywhere }
.bar { display: flex; height: 1rem; background: var(--rest); border-radius: .25rem; overflow: hidden }
.bar i { display: block; min-width: 2px; height: 100%; background: var(--bar) }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin-top: .7rem; font-size: .85rem; color: var(--soft) }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: .15em; margin-right: .4em }
.spreads { display: grid; grid-template-columns: repeat(auto-fill, minmax(18rem, 1fr)); gap: .8rem }
.spread svg { display: block; width: 100%; height: 6rem; margin: .6rem 0 .2rem } .spread rect { fill: var(--bar) }
.ends { display: flex; justify-content: space-between; font-size: .8rem; color: var(--soft) }
.wide { overflow-x: auto } table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600; font-size: .82rem; color: var(--soft) }
th, td { padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
.n { text-align: right } .good { color: var(--good) } .warn { color: var(--warn) } .bad { color: var(--bad) }
";
