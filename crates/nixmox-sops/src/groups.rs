//! Groups of recipients, of which some number must come together: Shamir's scheme over the data key.

use crate::recipient::Recipient;

/// Several groups; to open the file, somebody of each of `threshold` groups is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyGroups {
    groups: Vec<Vec<Recipient>>,
    threshold: u8,
}

/// Why groups and threshold do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyGroupsError {
    /// A group has no recipient.
    #[error("empty key group provided")]
    EmptyGroup,
    /// There are fewer than 2 groups, or more than 255.
    #[error("there must be 2 to 255 key groups")]
    Count,
    /// One group alone would do.
    #[error("threshold must be at least 2")]
    ThresholdTooLow,
    /// More groups would be needed than there are.
    #[error("parts cannot be less than threshold")]
    ThresholdTooHigh,
}

impl KeyGroups {
    /// Takes groups and how many of them are needed; without a number, all are.
    ///
    /// # Errors
    ///
    /// [`KeyGroupsError`].
    pub fn new(
        groups: Vec<Vec<Recipient>>,
        threshold: Option<usize>,
    ) -> Result<Self, KeyGroupsError> {
        let count = u8::try_from(groups.len()).map_err(|_| KeyGroupsError::Count)?;
        if count < 2 {
            return Err(KeyGroupsError::Count);
        }
        if groups.iter().any(Vec::is_empty) {
            return Err(KeyGroupsError::EmptyGroup);
        }
        let threshold = match threshold {
            None | Some(0) => count,
            Some(number) => u8::try_from(number).unwrap_or(u8::MAX),
        };
        match threshold {
            0 | 1 => Err(KeyGroupsError::ThresholdTooLow),
            number if number > count => Err(KeyGroupsError::ThresholdTooHigh),
            threshold => Ok(Self { groups, threshold }),
        }
    }

    /// Takes another number of groups that are needed.
    ///
    /// # Errors
    ///
    /// [`KeyGroupsError::ThresholdTooLow`] and [`KeyGroupsError::ThresholdTooHigh`].
    pub fn with_threshold(self, threshold: Option<usize>) -> Result<Self, KeyGroupsError> {
        Self::new(self.groups, threshold)
    }

    /// Returns the groups.
    pub fn groups(&self) -> &[Vec<Recipient>] {
        &self.groups
    }

    /// Returns how many groups are needed.
    pub fn threshold(&self) -> usize {
        usize::from(self.threshold)
    }

    pub(crate) fn parts(&self) -> (u8, u8) {
        (u8::try_from(self.groups.len()).unwrap_or(u8::MAX), self.threshold)
    }
}
