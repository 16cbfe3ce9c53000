//! A chat template and its messages.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    llama_chat_template_fuzz::template(input);
});
