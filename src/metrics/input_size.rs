//! Classes of input length, for TTFT by input size.

/// The classes, each with the largest number of input tokens in it. `more` and `unknown` complete them.
const INPUT_SIZES: [(u64, &str); 5] =
    [(256, "256"), (1024, "1024"), (4096, "4096"), (16384, "16384"), (65536, "65536")];

/// Returns the class of an input with this many tokens, as counted by the server.
pub fn input_size(tokens: Option<u64>) -> &'static str {
    let Some(tokens) = tokens else { return "unknown" };
    INPUT_SIZES.iter().find(|(most, _)| tokens <= *most).map_or("more", |(_, class)| class)
}

/// Every class.
pub(super) fn input_sizes() -> Vec<&'static str> {
    INPUT_SIZES.iter().map(|(_, class)| *class).chain(["more", "unknown"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_lower_class() {
        for (tokens, class) in [
            (None, "unknown"),
            (Some(0), "256"),
            (Some(256), "256"),
            (Some(257), "1024"),
            (Some(65536), "65536"),
            (Some(65537), "more"),
        ] {
            assert_eq!(input_size(tokens), class, "{tokens:?}");
        }
    }
}
