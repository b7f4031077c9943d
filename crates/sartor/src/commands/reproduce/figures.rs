//! The tables and figures: which methods under which budgets, and what the papers say comes out.

/// A table or figure that compares methods.
pub struct Figure {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The cost on the picture's horizontal axis.
    pub cost: &'static str,
    /// What is compared.
    pub arms: &'static [Arm],
    /// Under which budgets.
    pub budget: Budget,
    /// What should come out.
    pub claims: &'static [Claim],
}

/// One method with settings of its own.
pub struct Arm {
    /// Name in the results.
    pub label: &'static str,
    /// The method.
    pub method: &'static str,
    /// Overrides, as after `--set`.
    pub set: &'static [&'static str],
}

/// Budgets of a figure, for `--quick` and in full.
#[derive(Clone, Copy)]
pub enum Budget {
    /// The config's, times these factors.
    Times(&'static [f64], &'static [f64]),
    /// BitOps alone, as shares of the largest network's at 8 bits.
    BitOps(&'static [f64], &'static [f64]),
    /// Latency alone, as shares of the largest network's at 8 bits. The arms only search; nothing is fine-tuned.
    Targets(&'static [f64]),
    /// None.
    Free,
}

impl Budget {
    /// Its kind in a word, the folder of the arms that it limits.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Times(..) => "times",
            Self::BitOps(..) => "bitops",
            Self::Targets(_) => "targets",
            Self::Free => "free",
        }
    }
}

/// Something the papers claim.
pub struct Claim {
    /// In words.
    pub text: &'static str,
    /// The better arm.
    pub better: &'static str,
    /// The other arm.
    pub other: &'static str,
    /// In what.
    pub about: About,
    /// What the papers print.
    pub published: &'static str,
}

/// What a claim is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// Test accuracy under equal budgets.
    Accuracy,
    /// The same, under the tightest budget alone.
    TightAccuracy,
    /// Seconds of the search for one more target.
    SearchTime,
    /// Latency closer than 3 % to its limit.
    OnTarget,
    /// The same of the expectation over a search's probabilities when it ends.
    ExpectedOnTarget,
    /// The same of the candidate that the search likes best, whatever it costs.
    MostProbableOnTarget,
    /// Energy that falls from each arm of the figure to the next.
    FallingEnergy,
    /// Depthwise layers with fewer bits than the 1×1 convolutions around them, mean over all arms.
    DepthwiseBits,
}

const JOINT: Arm = Arm { label: "apq", method: "apq", set: &["search.rounds=1"] };
/// Sartor's own default: what is measured after a search teaches the predictor before the next one.
const ROUNDS: Arm = Arm { label: "apq-rounds", method: "apq", set: &["search.rounds=9"] };
const SCRATCH: Arm = Arm { label: "apq-scratch", method: "apq-scratch", set: &[] };
const SEQUENTIAL: Arm = Arm { label: "sequential", method: "sequential", set: &[] };
const HAQ: Arm = Arm { label: "haq", method: "haq", set: &[] };
const SPOS: Arm = Arm { label: "spos", method: "spos", set: &[] };
const UNIFORM_8: Arm = Arm { label: "uniform-8", method: "uniform", set: &["method.uniform.bits=[8]"] };
const UNIFORM_4: Arm = Arm { label: "uniform-4", method: "uniform", set: &["method.uniform.bits=[4]"] };
const UNIFORM_2: Arm = Arm { label: "uniform-2", method: "uniform", set: &["method.uniform.bits=[2]"] };
const GONG: Arm = Arm { label: "gong", method: "gong", set: &[] };
const DNAS: Arm = Arm { label: "dnas", method: "dnas", set: &[] };
const STEPWISE: Arm =
    Arm { label: "nas-then-bits", method: "sequential", set: &["method.sequential.pruning=false"] };
const PROXYLESS: Arm =
    Arm { label: "proxyless", method: "proxyless", set: &["method.proxyless.metric=\"latency_ms\""] };
const FIXED_WEIGHT: Arm = Arm {
    label: "fixed-weight",
    method: "proxyless",
    set: &[
        "method.proxyless.metric=\"latency_ms\"",
        "method.proxyless.search.pursuit=0.0",
        "method.proxyless.search.sharpness=1.0",
    ],
};
/// Gong's search with λ as named, always pushing on energy.
macro_rules! lambda {
    ($value:literal) => {
        Arm {
            label: concat!("lambda-", $value),
            method: "gong",
            set: &[
                concat!("method.gong.search.lambda=", $value),
                "method.gong.search.limit=0.0",
                "method.gong.metric=\"energy_mj\"",
            ],
        }
    };
}

const JOINT_BEATS_SEQUENTIAL: Claim = Claim {
    text: "joint search is more accurate than architecture, pruning and bits one after the other",
    better: "apq",
    other: "sequential",
    about: About::Accuracy,
    published: "+2.3 points (EMS, table 2: 74.1 % against 71.8 %)",
};

/// What the papers print about rounds.
const NO_ROUNDS: &str = "nothing: the papers do not measure before they fine-tune";
const ROUNDS_BEAT_SEQUENTIAL: Claim = Claim {
    text: "joint search in rounds of measuring is more accurate than architecture, pruning and bits one after the other",
    better: "apq-rounds",
    other: "sequential",
    about: About::Accuracy,
    published: NO_ROUNDS,
};

/// All of them.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "table2",
        title: "EMS, table 2: systems under one budget",
        cost: "latency_ms",
        arms: &[UNIFORM_8, HAQ, SEQUENTIAL, SPOS, SCRATCH, JOINT, ROUNDS],
        budget: Budget::Times(&[1.0], &[1.0]),
        claims: &[
            JOINT_BEATS_SEQUENTIAL,
            Claim {
                text: "transfer makes the joint search more accurate",
                better: "apq",
                other: "apq-scratch",
                about: About::Accuracy,
                published: "+2.0 points (EMS, table 2: 74.1 % against 72.1 %)",
            },
            Claim {
                text: "one more target costs the joint search less time",
                better: "apq",
                other: "sequential",
                about: About::SearchTime,
                published: "600 times (EMS, table 2: 0.5 against 300 GPU hours)",
            },
            Claim {
                text: "nine rounds of searching, measuring and refitting are more accurate than one",
                better: "apq-rounds",
                other: "apq",
                about: About::Accuracy,
                published: NO_ROUNDS,
            },
            ROUNDS_BEAT_SEQUENTIAL,
        ],
    },
    Figure {
        name: "fig3",
        title: "EMS, figure 3: joint search, HAQ and 8 bits under tighter and looser budgets",
        cost: "latency_ms",
        arms: &[UNIFORM_8, HAQ, SCRATCH, JOINT],
        budget: Budget::Times(&[1.0, 2.0], &[0.85, 1.0, 1.5, 2.5]),
        claims: &[
            Claim {
                text: "joint search is more accurate than 8 bits everywhere under the tightest budget",
                better: "apq",
                other: "uniform-8",
                about: About::TightAccuracy,
                published: "+10.5 points (EMS, 5.2: 71.9 % against 61.4 % at equal latency)",
            },
            Claim {
                text: "joint search is more accurate than HAQ on a fixed network",
                better: "apq",
                other: "haq",
                about: About::Accuracy,
                published: "about +5 points under strict limits (EMS, figure 3)",
            },
        ],
    },
    Figure {
        name: "fig4",
        title: "EMS, figure 4: joint against sequential search under latency budgets",
        cost: "latency_ms",
        arms: &[SEQUENTIAL, JOINT, ROUNDS],
        budget: Budget::Times(&[1.0, 2.0], &[0.85, 1.0, 1.5, 2.5]),
        claims: &[JOINT_BEATS_SEQUENTIAL, ROUNDS_BEAT_SEQUENTIAL],
    },
    Figure {
        name: "fig5",
        title: "EMS, figure 5: joint search and SPOS under limited BitOps",
        cost: "bitops",
        arms: &[UNIFORM_8, UNIFORM_4, SPOS, JOINT, ROUNDS],
        budget: Budget::BitOps(&[0.1, 0.25], &[0.08, 0.15, 0.25, 0.5]),
        claims: &[
            Claim {
                text: "under a tight BitOps limit joint search is more accurate than SPOS",
                better: "apq",
                other: "spos",
                about: About::TightAccuracy,
                published: "+2.4 points (EMS, 5.2: 73.9 % against 71.5 %)",
            },
            Claim {
                text: "so is joint search in rounds of measuring",
                better: "apq-rounds",
                other: "spos",
                about: About::TightAccuracy,
                published: NO_ROUNDS,
            },
            Claim {
                text: "mixed widths are more accurate than 8 bits at equal BitOps",
                better: "apq",
                other: "uniform-8",
                about: About::Accuracy,
                published: "float accuracy of ResNet-34 at half the BitOps of 4 bits (EMS, figure 5)",
            },
        ],
    },
    Figure {
        name: "gong-lambda",
        title: "Gong and others, section IV-A and figure 3: λ against energy, and where the bits go",
        cost: "energy_mj",
        arms: &[lambda!("0.001"), lambda!("0.003"), lambda!("0.01"), lambda!("0.03"), lambda!("0.1")],
        budget: Budget::Free,
        claims: &[
            Claim {
                text: "over five values, every larger λ finds a network of less energy",
                better: "lambda-0.1",
                other: "lambda-0.001",
                about: About::FallingEnergy,
                published: "λ = 0.1 and 0.01 give 8.91 and 10.85 mJ (table II)",
            },
            Claim {
                text: "depthwise layers get fewer bits than the 1×1 convolutions",
                better: "lambda-0.1",
                other: "lambda-0.001",
                about: About::DepthwiseBits,
                published: "fewer bits in depthwise layers (figure 3)",
            },
        ],
    },
    Figure {
        name: "gong-table3",
        title: "Gong and others, table III: differentiable joint search against HAQ",
        cost: "energy_mj",
        arms: &[UNIFORM_8, HAQ, DNAS, GONG],
        budget: Budget::Times(&[1.0], &[0.85, 1.0, 1.5]),
        claims: &[Claim {
            text: "the differentiable joint search is more accurate than HAQ within the same budget",
            better: "gong",
            other: "haq",
            about: About::Accuracy,
            published: "0.77 and 0.62 points less error at 15 and 21 % less energy (table III, small and base)",
        }],
    },
    Figure {
        name: "gong-table4",
        title: "Gong and others, table IV: joint search against NAS, then bits",
        cost: "energy_mj",
        arms: &[STEPWISE, GONG],
        budget: Budget::Times(&[1.0], &[0.85, 1.0, 1.5]),
        claims: &[Claim {
            text: "searched together is more accurate than NAS, then bits",
            better: "gong",
            other: "nas-then-bits",
            about: About::Accuracy,
            published: "0.18 and 0.31 points less error (table IV, small and base)",
        }],
    },
    Figure {
        name: "gong-fig4",
        title: "Gong and others, figure 4: mixed against constant widths",
        cost: "latency_ms",
        arms: &[UNIFORM_8, UNIFORM_4, UNIFORM_2, HAQ, GONG],
        budget: Budget::Times(&[1.0], &[0.85, 1.0, 1.5]),
        claims: &[
            Claim {
                text: "mixed widths are more accurate than 8 bits everywhere at equal cost",
                better: "gong",
                other: "uniform-8",
                about: About::Accuracy,
                published: "mixed above constant at equal latency (figure 4)",
            },
            Claim {
                text: "mixed widths are more accurate than 4 bits everywhere at equal cost",
                better: "gong",
                other: "uniform-4",
                about: About::Accuracy,
                published: "mixed above constant at equal latency (figure 4)",
            },
        ],
    },
    Figure {
        name: "lpirc-table1",
        title: "ProxylessNAS with quantization-aware fine-tuning, table 1: 8-bit networks for latency targets",
        cost: "latency_ms",
        arms: &[UNIFORM_8, PROXYLESS],
        budget: Budget::Times(&[1.0, 1.5], &[1.0, 1.25, 1.5, 2.0, 2.5]),
        claims: &[
            Claim {
                text: "the network found is more accurate than the fixed one at 8 bits",
                better: "proxyless",
                other: "uniform-8",
                about: About::Accuracy,
                published: "searched above MobileNetV2 at equal latency (table 1)",
            },
            Claim {
                text: "the network's latency lands within 3 % of the target",
                better: "proxyless",
                other: "proxyless",
                about: About::OnTarget,
                published: "none",
            },
        ],
    },
    Figure {
        name: "proxyless-targets",
        title: "ProxylessNAS, equations 2 and 3: five latency targets",
        cost: "latency_ms",
        arms: &[FIXED_WEIGHT, PROXYLESS],
        budget: Budget::Targets(&[0.3, 0.4, 0.5, 0.6, 0.7]),
        claims: &[
            on_target("the network's latency lands within 3 % of five targets", About::OnTarget, "proxyless"),
            on_target(
                "so does the expected latency when the search ends",
                About::ExpectedOnTarget,
                "proxyless",
            ),
            on_target(
                "so does the most probable path, whatever the limit",
                About::MostProbableOnTarget,
                "proxyless",
            ),
            on_target(
                "with the printed loss alone, the expected latency does too",
                About::ExpectedOnTarget,
                "fixed-weight",
            ),
        ],
    },
];

/// A claim about one arm and its targets.
const fn on_target(text: &'static str, about: About, arm: &'static str) -> Claim {
    Claim { text, better: arm, other: arm, about, published: "none" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_about_arms_and_names_are_unique() {
        for (index, figure) in FIGURES.iter().enumerate() {
            for claim in figure.claims {
                let known = |label: &str| figure.arms.iter().any(|arm| arm.label == label);
                assert!(known(claim.better) && known(claim.other), "{}: {}", figure.name, claim.text);
            }
            assert!(FIGURES[..index].iter().all(|other| other.name != figure.name), "{}", figure.name);
        }
    }

    #[test]
    fn arms_of_one_name_are_one_arm() {
        let arms: Vec<&Arm> = FIGURES.iter().flat_map(|figure| figure.arms).collect();
        for (index, arm) in arms.iter().enumerate() {
            let other = arms[..index].iter().find(|other| other.label == arm.label);
            assert!(
                other.is_none_or(|other| (other.method, other.set) == (arm.method, arm.set)),
                "{}",
                arm.label
            );
        }
    }
}
