//! Signs that a reader does not see and that change what he sees: they turn the direction of
//! writing, take no room, or look like a blank. In what people sign they could make
//! "not shared" read as "shared".

/// Whether a sign is invisible or turns the direction of writing. Source: Unicode's
/// `Default_Ignorable_Code_Point` and `Bidi_Control`, with the separators of lines.
fn is_hidden(sign: char) -> bool {
    matches!(sign,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Whether a text holds a sign that a reader would not see.
pub(crate) fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// The text as people can read it: without hidden signs, and control characters as blanks.
pub(super) fn plain(text: &str) -> String {
    let visible = text.chars().filter(|sign| !is_hidden(*sign));
    visible.map(|sign| if sign.is_control() { ' ' } else { sign }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_is_found_and_taken_out() {
        let turning = ['\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}'];
        let isolating = ['\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\u{200e}', '\u{200f}', '\u{061c}'];
        let unseen = ['\u{200b}', '\u{200d}', '\u{feff}', '\u{3164}', '\u{00ad}', '\u{e0041}', '\u{2028}'];
        for sign in turning.into_iter().chain(isolating).chain(unseen) {
            let text = format!("공개{sign}안함");
            assert!(has_hidden(&text), "{sign:?}");
            assert_eq!(plain(&text), "공개안함", "{sign:?}");
        }
        assert!(!has_hidden("2호 열처리로 · Furnace 2 (연속)"));
        assert_eq!(plain("a\nb\t "), "a b");
    }
}
