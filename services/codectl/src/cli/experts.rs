//! `codectl experts …`

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use model::{Span, Token};

/// `experts`
#[derive(Debug, Subcommand)]
pub enum Experts {
    /// Ask the circle a question; every expert's progress is shown live
    #[command(
        after_help = "Example:\n  codectl experts ask 'is this migration safe?' --evidence migration.sql\n  codectl experts ask 'why did it fail?' --evidence web.log --expert claude --expert gpt --deadline 90s\n\n\
                      Evidence is shown to experts as data, secrets masked. Exit status: 0 approve, 10 needs change,\n\
                      11 reject, 12 a human must decide or too few answered."
    )]
    Ask(Ask),
    /// Show who can be asked, how often they were right, and what is left to spend
    List,
    /// Have every expert judge a good and a bad plan that we know
    #[command(after_help = "Exit status 1 when an expert that was asked failed the test.")]
    Test {
        /// Only this one.
        expert: Option<Token>,
    },
    /// List past consultations, or show one with every answer, the dissent and the costs
    #[command(
        after_help = "A deployment's advice has the deployment's id.\n\nExample:\n  codectl experts history\n  codectl experts history dep-…"
    )]
    History {
        /// The question's id; without one the newest are listed.
        question: Option<Token>,
        /// At most so many lines.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// Compute a consultation again from its stored answers and compare
    #[command(after_help = "Exit status 1 when anything differs.")]
    Replay {
        /// The question's id.
        question: Token,
    },
    /// Look for patterns over past consultations: what recurs, contradicts or is copied, and who finds what first
    Patterns {
        /// The newest so many consultations, 1 to 1000.
        #[arg(long, default_value_t = 200)]
        limit: u32,
    },
    /// Judge methods of agreement on a folder with label.csv and truth.csv; needs no engine
    #[command(
        after_help = "label.csv has the columns item,worker,label and truth.csv has item,truth.\n\nExample:\n  codectl experts evaluate our-panel/ --output json"
    )]
    Evaluate {
        /// The folder.
        folder: PathBuf,
    },
}

/// `experts ask`
#[derive(Debug, Args)]
pub struct Ask {
    /// The question.
    pub text: String,
    /// A file that experts may look at; can be given several times. Its name becomes the evidence's id.
    #[arg(long, value_name = "FILE")]
    pub evidence: Vec<PathBuf>,
    /// A condition that an answer must respect; can be given several times.
    #[arg(long, value_name = "TEXT")]
    pub constraint: Vec<String>,
    /// Only this expert; can be given several times.
    #[arg(long, value_name = "NAME")]
    pub expert: Vec<Token>,
    /// Time for the panel, 100ms to 30m. The opinion is waited for 10 s longer, however short --timeout is.
    #[arg(long, default_value = "60s", value_parser = deadline)]
    pub deadline: Span,
    /// The most it may cost, in US dollars.
    #[arg(long, value_name = "DOLLARS")]
    pub budget: Option<f64>,
    /// The question's id: asking again gives the recorded result. Default: a new one.
    #[arg(long)]
    pub id: Option<Token>,
    /// Do not answer from the cache.
    #[arg(long)]
    pub fresh: bool,
}

/// Shortest and longest time for a panel, as the experts' service takes it.
const DEADLINE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(30 * 60);

fn deadline(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: model::time::BadSpan| error.to_string())?;
    let fits = DEADLINE.contains(&span.0);
    fits.then_some(span).ok_or_else(|| "a panel gets 100 ms to 30 min, such as 90s".to_owned())
}
