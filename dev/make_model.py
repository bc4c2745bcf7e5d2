"""Creates a tiny Llama model with random weights, a byte-level tokenizer and a chat template in the given folder, so that
a real server can stream with it. Its output is meaningless."""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.manual_seed(0)
special = ["<|end|>", "<|user|>", "<|assistant|>"]
alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(special + alphabet)}, merges=[]))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>",
                               additional_special_tokens=special[1:])
fast.chat_template = ("{% for m in messages %}<|{{ 'user' if m.role != 'assistant' else m.role }}|>{{ m.content }}"
                      "{% endfor %}<|assistant|>")
fast.save_pretrained(sys.argv[1])
config = LlamaConfig(vocab_size=len(special) + len(alphabet), hidden_size=64, intermediate_size=128,
                     num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                     max_position_embeddings=4096, eos_token_id=0, bos_token_id=0, pad_token_id=0)
LlamaForCausalLM(config).save_pretrained(sys.argv[1])
