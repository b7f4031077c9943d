//! How accurate a candidate will be, guessed: the accuracy predictor and its transfer.
