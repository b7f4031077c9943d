//! Everything that can be wrong with a data set, each with what, where and what was expected.

use std::path::PathBuf;

/// Why a data set was refused.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder is not there.
    #[error("{what} not found: `{}`", path.display())]
    Missing {
        /// What was looked for, such as `training labels`.
        what: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The operating system refused to read a file.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A gzip stream does not decompress.
    #[error("`{}` is not a sound gzip file: {reason}", path.display())]
    Gzip {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A file ends before its header said it would.
    #[error("`{}` is truncated: {what} need {expected} bytes, the file gives {got}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Which part is short.
        what: &'static str,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// A file goes on after its last record.
    #[error("`{}` goes on after the {expected} bytes that its header announces", path.display())]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for.
        expected: u64,
    },
    /// A file starts with other bytes than its format demands.
    #[error("`{}` is no {format}: it starts with {got:#010x}, expected {expected:#010x}", path.display())]
    WrongMagic {
        /// The file.
        path: PathBuf,
        /// The format that was expected, such as `IDX image file`.
        format: &'static str,
        /// The first four bytes of the format.
        expected: u32,
        /// The first four bytes of the file.
        got: u32,
    },
    /// The length of a file of fixed-size records is not a multiple of the record.
    #[error("`{}` has {length} bytes, not a whole number of {record}-byte records", path.display())]
    PartialRecord {
        /// The file.
        path: PathBuf,
        /// Bytes in the file.
        length: u64,
        /// Bytes in one record.
        record: u64,
    },
    /// A size that does not fit in memory, or that no honest file of this length can have.
    #[error("`{}` claims {what} of {claimed} bytes, at most {limit} are accepted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Which part is too large.
        what: &'static str,
        /// Bytes claimed; saturated when the product overflows.
        claimed: u64,
        /// Bytes accepted.
        limit: u64,
    },
    /// An image file and its label file disagree.
    #[error("`{}` holds {images} images but `{}` holds {labels} labels", images_path.display(), labels_path.display())]
    CountMismatch {
        /// The image file.
        images_path: PathBuf,
        /// Images in it.
        images: u64,
        /// The label file.
        labels_path: PathBuf,
        /// Labels in it.
        labels: u64,
    },
    /// A label names a class that does not exist.
    #[error("label {label} of image {index} in `{}` is out of range: the data set has {classes} classes", path.display())]
    LabelOutOfRange {
        /// The file that holds the label.
        path: PathBuf,
        /// Position of the image, from 0.
        index: usize,
        /// The label found.
        label: u32,
        /// Number of classes; labels are 0 to `classes` − 1.
        classes: usize,
    },
    /// Images of another shape than the rest of the data set or the search space.
    #[error("images in `{}` are {}, expected {}", path.display(), shape(got), shape(expected))]
    ImageShape {
        /// The file, or the name of the data set.
        path: PathBuf,
        /// Height, width and channels expected.
        expected: [usize; 3],
        /// Height, width and channels found.
        got: [usize; 3],
    },
    /// The data set and the search space disagree on the number of classes.
    #[error("data set `{name}` has {got} classes, the search space expects {expected}")]
    Classes {
        /// Name of the data set.
        name: String,
        /// Classes in the search space.
        expected: usize,
        /// Classes in the data set.
        got: usize,
    },
    /// A split has no image of some class.
    #[error("class {class} has no image in the {split} split of `{}`", path.display())]
    EmptyClass {
        /// The file or folder.
        path: PathBuf,
        /// `training`, `validation` or `test`.
        split: &'static str,
        /// Name or number of the class.
        class: String,
    },
    /// A test folder holds a class that was never trained.
    #[error("class folder `{}` has no counterpart among the {classes} training classes", path.display())]
    UnknownClass {
        /// The folder.
        path: PathBuf,
        /// Number of training classes.
        classes: usize,
    },
    /// A file or folder holds no images at all.
    #[error("no {what} in `{}`", path.display())]
    Empty {
        /// What was looked for.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
    },
    /// An image file that does not decode.
    #[error("cannot decode image `{}`: {reason}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// The operating system has no thread left for the batch loader.
    #[error("cannot start the thread that prepares batches")]
    Thread {
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A setting of the data source that cannot work.
    #[error("{key} = {got} is not possible: {expected}")]
    Setting {
        /// Name of the setting.
        key: &'static str,
        /// Its value.
        got: usize,
        /// What is possible.
        expected: String,
    },
}

impl DataError {
    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } | Self::Empty { .. } => {
                "check the data set's path; relative paths start at the folder the command runs in".into()
            }
            Self::Io { .. } => "check that the file can be read by this user".into(),
            Self::Gzip { .. } | Self::Truncated { .. } | Self::PartialRecord { .. } => {
                "the file is damaged or was only partly copied; fetch it again".into()
            }
            Self::TrailingBytes { .. } | Self::WrongMagic { .. } => {
                "check that images and labels are not exchanged and that the format is the configured one"
                    .into()
            }
            Self::TooLarge { .. } => "limit the number of images, or use smaller ones".into(),
            Self::CountMismatch { .. } => "use the label file that belongs to this image file".into(),
            Self::LabelOutOfRange { classes, .. } => {
                format!("labels must be 0 to {}; set the number of classes to the data set's", classes - 1)
            }
            Self::ImageShape { .. } => "set the search space's input size and channels to the images'".into(),
            Self::Classes { got, .. } => format!("set `input.classes = {got}` in the search space"),
            Self::EmptyClass { .. } => "add images of this class, or number the classes without gaps".into(),
            Self::UnknownClass { .. } => "training and test folders must use the same class names".into(),
            Self::Decode { .. } => "replace or remove the file; PNG and JPEG are read".into(),
            Self::Thread { .. } => "end other programs, or raise the limit on threads".into(),
            Self::Setting { key, .. } => format!("change `{key}` in the configuration"),
        })
    }
}

fn shape([height, width, channels]: &[usize; 3]) -> String {
    format!("{height}×{width}×{channels}")
}
