//! Names from a run that become names of files, and words of a command.

/// A name that is one harmless part of a path: letters, digits, `.`, `_` and `-`, at most 64; "unnamed" of nothing.
pub fn safe_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match (plain, name.ends_with('-')) {
            (true, _) => name.push(c),
            (false, false) => name.push('-'),
            (false, true) => {}
        }
    }
    let name: String = name.trim_matches(['-', '.']).chars().take(64).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// The same in the manner of the raw files: "llama.cpp" as `llama_cpp`.
pub(super) fn snake_name(text: &str) -> String {
    safe_name(text).replace(['-', '.'], "_").to_lowercase()
}

/// A word for a shell that is nothing but itself; `None` for what no one can type.
pub(crate) fn shell_word(text: &str) -> Option<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return None;
    }
    let text = if text.starts_with('-') { format!("./{text}") } else { text.to_owned() };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '+' | '@');
    Some(if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leaves_its_folder() {
        for (text, name) in [
            ("AMD EPYC 9R14", "AMD-EPYC-9R14"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "unnamed"),
            ("a\\b/c\n<d>", "a-b-c-d"),
            ("", "unnamed"),
            ("M5", "M5"),
        ] {
            assert_eq!(safe_name(text), name, "{text}");
        }
        assert!(safe_name(&"x".repeat(500)).len() <= 64);
        assert_eq!(snake_name("llama.cpp"), "llama_cpp");
    }

    #[test]
    fn a_word_for_the_shell_runs_nothing() {
        assert_eq!(shell_word("org/name").as_deref(), Some("org/name"));
        assert_eq!(shell_word("a'; rm -rf ~").as_deref(), Some(r"'a'\''; rm -rf ~'"));
        assert_eq!(shell_word("--help").as_deref(), Some("./--help"));
        assert_eq!(shell_word("a\nb"), None);
    }
}
