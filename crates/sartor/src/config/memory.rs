//! `--memory 2GB`: smaller parts of a batch at once, so that training stays below a limit.

use anyhow::Result;
use sartor_space::SearchSpace;
use sartor_supernet::SupernetError;
use sartor_supernet::memory::micro_batch;

use super::sections::Sections;
use crate::failure::Failure;

/// Units of sizes, the longest endings first.
const UNITS: [(&str, f64); 7] = [
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("b", 1.0),
];

/// Sets the micro-batches of the supernet's training and of both fine-tunings to what fits `run.memory`, unless they
/// are given.
///
/// # Errors
/// A limit that is no size, or too small for a single image.
pub fn fit(sections: &mut Sections, space: &SearchSpace) -> Result<()> {
    let Some(text) = sections.run.memory.clone() else { return Ok(()) };
    let limit = bytes(&text).ok_or_else(|| {
        Failure::bad_input(format!("`run.memory` must be a size above 0, got `{text}`"))
            .hint("for example `2GB` or `512MiB`")
    })?;
    let within = |batch| micro_batch(space, batch, limit).map_err(|error| refused(&text, error));
    let Sections { supernet, samples, finetune, .. } = sections;
    for (batch, given) in [
        (supernet.batch, &mut supernet.micro_batch),
        (samples.finetune.batch, &mut samples.finetune.micro_batch),
        (finetune.batch, &mut finetune.micro_batch),
    ] {
        let fits = within(batch)?;
        if given.is_none() && fits < batch {
            *given = Some(fits);
        }
    }
    Ok(())
}

fn refused(text: &str, error: SupernetError) -> anyhow::Error {
    let SupernetError::Memory { needed, .. } = error else { return error.into() };
    let message =
        format!("`run.memory` is {text}, but one image at a time takes {} MB", needed.div_ceil(1_000_000));
    Failure::bad_input(message).hint("raise it, or choose a space with smaller networks or images").into()
}

/// `2GB`, `512 MiB`, `1.5gb`, `1000000`: bytes.
fn bytes(text: &str) -> Option<usize> {
    let text = text.trim().to_lowercase();
    let unit = UNITS.iter().find(|(ending, _)| text.ends_with(ending));
    let (number, factor) = unit
        .map_or((&text[..], 1.0), |(ending, factor)| (text.strip_suffix(ending).unwrap_or(&text), *factor));
    let value = number.trim().parse::<f64>().ok()? * factor;
    (value.is_finite() && value >= 1.0).then_some(value as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let table = [
            ("2GB", Some(2_000_000_000)),
            ("512 MiB", Some(512 << 20)),
            ("1.5gb", Some(1_500_000_000)),
            ("640kb", Some(640_000)),
            ("7B", Some(7)),
            ("1000", Some(1000)),
            ("0GB", None),
            ("-1GB", None),
            ("much", None),
            ("GB", None),
            ("nan", None),
            ("inf", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_limit_cuts_only_batches_that_do_not_fit() {
        let space = SearchSpace::preset("apq").unwrap();
        let mut sections = Sections::default();
        sections.run.memory = Some("2GB".to_owned());
        sections.finetune.batch = 2;
        sections.samples.finetune.micro_batch = Some(3);
        fit(&mut sections, &space).unwrap();
        let cut = sections.supernet.micro_batch.unwrap();
        assert!(cut > 1 && cut < sections.supernet.batch, "{cut}");
        assert_eq!((sections.finetune.micro_batch, sections.samples.finetune.micro_batch), (None, Some(3)));
    }

    #[test]
    fn impossible_limits_say_what_is_needed() {
        let space = SearchSpace::preset("apq").unwrap();
        for (text, expected) in [("10MB", "one image at a time takes"), ("some", "must be a size")] {
            let mut sections = Sections::default();
            sections.run.memory = Some(text.to_owned());
            assert!(fit(&mut sections, &space).unwrap_err().to_string().contains(expected), "{text}");
        }
    }
}
