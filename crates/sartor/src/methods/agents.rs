//! What `amc` and `haq` share: schedule, progress and history of an agent's episodes.

use sartor_search::episodes::{Episode, Found, Schedule};

use super::Proposal;
use crate::progress::Progress;
use crate::records::Generation;
use crate::stages::search::hunt::Wanted;

/// Episodes, the warm-up at most half of them.
pub fn schedule(episodes: usize, warm_up: usize) -> Schedule {
    Schedule { episodes, warm_up: warm_up.min(episodes / 2) }
}

/// Says how far the episodes are.
pub fn observer(name: &str, episodes: usize) -> impl FnMut(&Episode) + use<> {
    let mut progress = Progress::new(&format!("search {name}"), episodes as u64, 0);
    move |episode| {
        let text = format!(
            "{:.2} %, best {:.2} %, exploring ±{:.2}",
            100.0 * episode.score,
            100.0 * episode.best,
            episode.noise
        );
        progress.at(episode.index as u64 + 1, &text);
    }
}

/// What an agent found, its best `count` to be measured.
pub fn proposal(found: Found, count: usize) -> Proposal {
    let evaluated = found.history.len() as u64;
    let history = found.history.iter().map(row).collect();
    let ranked = found.ranked.into_iter().take(count).map(Wanted::searched).collect();
    Proposal { ranked, evaluated, stop_reason: "episodes".to_owned(), history }
}

fn row(episode: &Episode) -> Generation {
    let generation = episode.index as u64;
    Generation { generation, evaluated: generation + 1, best: episode.best, mean: episode.score }
}
