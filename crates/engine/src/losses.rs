//! # Losses
//!
//! Both are mean cross entropies between a target distribution t and p = softmax(z), per image
//! `-Σ t_c · log p_c`, with the gradient `(p_c · Σt - t_c) / batch`:
//!
//! - label smoothing: t = (1 - s) · one-hot + s / classes;
//! - distillation: t = softmax of the teacher's logits (soft labels).
//!
//! Sums run in `f64` in a fixed order. Bad logits give a NaN loss, never a panic: the caller decides.

use crate::error::EngineError;

/// Softmax cross entropy with label smoothing.
///
/// `logits` is `[batch × classes]`, `labels` `[batch]`. Adds `scale` times the gradient of the mean loss to
/// `gradient` (same shape as the logits) and returns the mean loss, unscaled.
///
/// # Errors
/// Lengths that do not fit, or a label that is not below `classes`.
pub fn cross_entropy(
    logits: &[f32],
    labels: &[usize],
    smoothing: f32,
    scale: f32,
    gradient: &mut [f32],
) -> Result<f64, EngineError> {
    let classes = class_count(logits, labels.len(), gradient)?;
    if let Some(&label) = labels.iter().find(|&&label| label >= classes) {
        return Err(EngineError::Shape {
            layer: "loss".into(),
            what: "label",
            expected: classes - 1,
            got: label,
        });
    }
    let (rest, smoothing) = (f64::from(smoothing) / classes as f64, f64::from(smoothing));
    let target =
        |image: usize, class: usize| rest + if labels[image] == class { 1.0 - smoothing } else { 0.0 };
    Ok(mean_loss(logits, classes, target, scale, gradient))
}

/// Cross entropy with the teacher's soft labels.
///
/// `logits` and `teacher_logits` are `[batch × classes]`. Gradient and return value as [`cross_entropy`].
///
/// # Errors
/// Lengths that do not fit.
pub fn distillation(
    logits: &[f32],
    teacher_logits: &[f32],
    classes: usize,
    scale: f32,
    gradient: &mut [f32],
) -> Result<f64, EngineError> {
    length("teacher logits", logits.len(), teacher_logits.len())?;
    let classes = class_count(logits, logits.len().checked_div(classes).unwrap_or(0), gradient)?;
    let soft = |image: usize| log_sum_exp(&teacher_logits[image * classes..][..classes]);
    let sums: Vec<f64> = (0..logits.len() / classes).map(soft).collect();
    let target =
        |image: usize, class: usize| (f64::from(teacher_logits[image * classes + class]) - sums[image]).exp();
    Ok(mean_loss(logits, classes, target, scale, gradient))
}

/// How many rows have their largest logit at the label; ties go to the lower class.
pub fn correct(logits: &[f32], labels: &[usize]) -> usize {
    let classes = logits.len() / labels.len().max(1);
    let best = |row: &[f32]| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b]));
    let rows = logits.chunks_exact(classes.max(1)).zip(labels);
    rows.filter(|(row, label)| row.iter().all(|v| v.is_finite()) && best(row) == Some(**label)).count()
}

fn length(what: &'static str, expected: usize, got: usize) -> Result<(), EngineError> {
    if expected == got { Ok(()) } else { Err(EngineError::Length { what, expected, got }) }
}

fn class_count(logits: &[f32], batch: usize, gradient: &[f32]) -> Result<usize, EngineError> {
    length("loss gradient", logits.len(), gradient.len())?;
    let classes = logits.len() / batch.max(1);
    if batch == 0 || classes == 0 || classes * batch != logits.len() {
        return Err(EngineError::Length {
            what: "logits",
            expected: classes.max(1) * batch.max(1),
            got: logits.len(),
        });
    }
    Ok(classes)
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shift = f64::from(largest);
    shift + row.iter().map(|&v| (f64::from(v) - shift).exp()).sum::<f64>().ln()
}

fn mean_loss(
    logits: &[f32],
    classes: usize,
    target: impl Fn(usize, usize) -> f64,
    scale: f32,
    gradient: &mut [f32],
) -> f64 {
    let batch = (logits.len() / classes) as f64;
    let factor = f64::from(scale) / batch;
    let mut total = 0.0;
    for (image, (row, gradient)) in logits.chunks(classes).zip(gradient.chunks_mut(classes)).enumerate() {
        let log_sum = log_sum_exp(row);
        for (class, (&logit, g)) in row.iter().zip(gradient).enumerate() {
            let (t, log_p) = (target(image, class), f64::from(logit) - log_sum);
            total -= if t == 0.0 { 0.0 * log_p } else { t * log_p };
            *g += (factor * (log_p.exp() - t)) as f32;
        }
    }
    total / batch
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: f32 = 1e-2;
    const DIFFERENCE_TOLERANCE: f64 = 2e-4;
    const LOGITS: [f32; 6] = [0.5, -1.0, 2.0, 0.1, 0.2, -0.3];
    const TEACHER: [f32; 6] = [1.5, 0.0, -2.0, 0.4, 3.2, 0.3];

    type Loss = fn(&[f32], &mut [f32]) -> f64;

    fn losses() -> [Loss; 3] {
        [
            |z, g| cross_entropy(z, &[2, 0], 0.0, 1.0, g).unwrap(),
            |z, g| cross_entropy(z, &[2, 0], 0.1, 1.0, g).unwrap(),
            |z, g| distillation(z, &TEACHER, 3, 1.0, g).unwrap(),
        ]
    }

    #[test]
    fn gradients_are_finite_differences() {
        for (which, loss) in losses().iter().enumerate() {
            let mut gradient = [0.0; 6];
            loss(&LOGITS, &mut gradient);
            for i in 0..6 {
                let at = |step: f32| {
                    let mut moved = LOGITS;
                    moved[i] += step;
                    loss(&moved, &mut [0.0; 6])
                };
                let numeric = (at(STEP) - at(-STEP)) / (2.0 * f64::from(STEP));
                assert!(
                    (numeric - f64::from(gradient[i])).abs() < DIFFERENCE_TOLERANCE,
                    "loss {which} logit {i}"
                );
            }
        }
    }

    #[test]
    fn gradient_accumulates_with_scale() {
        let (mut once, mut twice) = ([0.0; 6], [0.0; 6]);
        cross_entropy(&LOGITS, &[2, 0], 0.0, 1.0, &mut once).unwrap();
        for _ in 0..2 {
            cross_entropy(&LOGITS, &[2, 0], 0.0, 0.5, &mut twice).unwrap();
        }
        once.iter().zip(&twice).for_each(|(a, b)| assert!((a - b).abs() <= f32::EPSILON));
    }

    #[test]
    fn uniform_logits_cost_log_of_the_classes() {
        let loss = cross_entropy(&[0.0; 4], &[3], 0.1, 1.0, &mut [0.0; 4]).unwrap();
        assert!((loss - 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn bad_input_is_an_error_and_bad_logits_are_nan() {
        assert!(cross_entropy(&LOGITS, &[3, 0], 0.0, 1.0, &mut [0.0; 6]).is_err());
        assert!(cross_entropy(&LOGITS, &[], 0.0, 1.0, &mut [0.0; 6]).is_err());
        assert!(cross_entropy(&LOGITS, &[0, 0], 0.0, 1.0, &mut [0.0; 5]).is_err());
        assert!(distillation(&LOGITS, &TEACHER, 0, 1.0, &mut [0.0; 6]).is_err());
        assert!(cross_entropy(&[f32::NAN, 0.0], &[1], 0.0, 1.0, &mut [0.0; 2]).unwrap().is_nan());
        assert!(cross_entropy(&[f32::INFINITY, 0.0], &[1], 0.0, 1.0, &mut [0.0; 2]).unwrap().is_nan());
    }

    #[test]
    fn correct_counts_first_largest() {
        assert_eq!(correct(&LOGITS, &[2, 1]), 2);
        assert_eq!(correct(&[1.0, 1.0], &[0]), 1);
        assert_eq!(correct(&[f32::NAN, 1.0], &[1]), 0);
    }
}
