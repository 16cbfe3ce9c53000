//! A SentencePiece `tokenizer.model`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    llama_tokenizer_fuzz::sentencepiece(input);
});
