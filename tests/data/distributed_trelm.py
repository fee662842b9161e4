"""Train a TreLM for a few steps in however many processes it is launched with: NAME, then the batch of a process."""

import json
import sys

import torch
from transformers import AutoTokenizer, Trainer, TrainingArguments, set_seed

from hf_xlt import (
    AdversarialAlignmentCallback,
    DataCollatorForCdLM,
    TreLMForMaskedLM,
    WordAligner,
    aligned_pairs,
    frequency_order,
    read_parallel,
    tokenized,
)
from hf_xlt.geometry.adversarial import GameSettings

name, batch = sys.argv[1], int(sys.argv[2])
set_seed(0)
arguments = TrainingArguments(
    "work", max_steps=4, per_device_train_batch_size=batch, learning_rate=0.1, optim="sgd", logging_steps=1,
    use_cpu=True, data_seed=0, report_to="none", disable_tqdm=True, save_strategy="no", remove_unused_columns=False,
)  # fmt: skip
joint = AutoTokenizer.from_pretrained("joint-tokenizer")
# CdLM's lower layers read the first language alone: the other's private layer gets no gradients
model = TreLMForMaskedLM.from_encoder("source", languages=["en", "de"], tokenizer=joint, language_specific_layers=1)
english, german = zip(*read_parallel("en-de.tsv").pairs, strict=True)
pairs = list(zip(*(tokenized(side, joint, max_length=32) for side in (english, german)), strict=True))
with arguments.main_process_first():
    dataset = aligned_pairs(pairs, WordAligner.train(pairs).align(pairs), joint, (0, 1), cache="cache")
dataset = dataset.add_column("key", [[0, i] for i in range(len(dataset))])  # masks that no process layout changes
alignment = AdversarialAlignmentCallback(
    frequency_order(german, joint), frequency_order(english, joint), mode="during", every=1,
    game=GameSettings(hidden=32, batch=16),
)  # fmt: skip
trainer = Trainer(
    model, arguments, train_dataset=dataset, data_collator=DataCollatorForCdLM(joint), callbacks=[alignment]
)
trainer.train()
trainer.save_model(name)
if trainer.is_world_process_zero():
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    with open(f"{name}.json", "w", encoding="utf-8") as file:
        json.dump({"processes": arguments.world_size, "log": log}, file)
if torch.distributed.is_initialized():  # a process that ends with its group open may be aborted
    torch.distributed.destroy_process_group()
