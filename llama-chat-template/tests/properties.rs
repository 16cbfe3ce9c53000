//! What holds for every message: text stays text.

use llama_chat_template::{ChatTemplate, Message, RenderOptions, Role, Segment, SpecialTokens};
use proptest::prelude::*;

fn control_tokens(segments: &[Segment]) -> usize {
    segments
        .iter()
        .filter(|segment| !matches!(segment, Segment::Text(_)))
        .count()
}

proptest! {
    /// Whatever a user writes, a prompt has the control tokens that its template writes and no others.
    #[test]
    fn no_message_makes_a_control_token(content in "(<s>|</s>|<unk>|\\{\\{|\\}\\}|\\{%|\\PC){0,20}") {
        let tokens = SpecialTokens {
            bos: Some("<s>".into()),
            eos: Some("</s>".into()),
            named: vec![("unk_token".into(), "<unk>".into())],
            others: vec![],
        };
        let template = ChatTemplate::jinja("<s>{{ messages[0].content }}{{ eos_token }}", &tokens, "test").unwrap();
        let messages = [Message::new(Role::User, content.clone())];
        let segments = template.render(&messages, &RenderOptions::default()).unwrap();
        prop_assert_eq!(control_tokens(&segments), 2);
        let text: String = segments.iter().filter_map(|segment| match segment {
            Segment::Text(text) => Some(text.as_str()),
            _ => None,
        }).collect();
        prop_assert_eq!(text, content.clone());

        if let Ok(segments) = ChatTemplate::native().render(&messages, &RenderOptions::default()) {
            prop_assert_eq!(control_tokens(&segments), 1);
        }
    }

    /// A file of any bytes is a template, a refusal or an error, never a panic.
    #[test]
    fn no_config_panics(json in "\\PC{0,60}", source in "(\\{%|%\\}|\\{\\{|\\}\\}|if|for|x|'|\"|\\[|\\]|\\PC| ){0,40}") {
        let _ = ChatTemplate::from_config_json(&json, "test");
        if let Ok(template) = ChatTemplate::from_source(&source, &SpecialTokens::default(), "test") {
            let _ = template.render(&[Message::new(Role::User, "hi")], &RenderOptions::default());
        }
    }
}
