"""Runs a package in a process that has onnxruntime-genai and nothing of the compiler.

Reads JSON from stdin: the folder, where results go, and jobs. Each job is greedy: `prompt` (ids, or a list of rows of
ids, filled up behind with 0) or `text` with `images` and `sounds` (paths), or `tensors` (an npz of what a processor
gives); `new` tokens; `search` options; `then`: more ids behind the answer, and as many tokens again; `rewind`: so many
ids are taken back first. Writes an npz of NAME.tokens, NAME.logits (of the position before each token), and what a
processor made.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime_genai as og

og.disable_telemetry_events()


def run(model, job, name, results):
    inputs = prompt_of(model, job, name, results)
    rows = inputs if isinstance(inputs, np.ndarray) else np.asarray(inputs["input_ids"].as_numpy())
    params = og.GeneratorParams(model)
    length = rows.shape[1] + 2 * job["new"] + len(job.get("then", ())) + 1
    batch = {"batch_size": len(rows)} if len(rows) > 1 else {}
    params.set_search_options(**{"do_sample": False, "max_length": length, **batch, **job.get("search", {})})
    generator = og.Generator(model, params)
    if isinstance(inputs, np.ndarray):
        generator.append_tokens(inputs)
    else:
        generator.set_inputs(inputs)
    tokens, logits = [], []
    answer(generator, len(rows), job["new"], tokens, logits)
    if "then" in job:
        generator.get_logits()  # computes the last token, which `append_tokens` would leave out
        if job.get("rewind"):
            generator.rewind_to(generator.token_count() - job["rewind"])
        generator.append_tokens(np.array([job["then"]], np.int32))
        answer(generator, len(rows), job["new"], tokens, logits)
    results[f"{name}.tokens"] = np.stack(tokens, 1)
    results[f"{name}.logits"] = np.stack(logits, 1)


def answer(generator, rows, count, tokens, logits):
    for _ in range(count):
        logits.append(np.asarray(generator.get_logits()).reshape(rows, -1).copy())
        generator.generate_next_token()
        tokens.append(np.asarray(generator.get_next_tokens()).copy())


def prompt_of(model, job, name, results):
    if "prompt" in job:
        rows = job["prompt"] if isinstance(job["prompt"][0], list) else [job["prompt"]]
        longest = max(map(len, rows))
        return np.array([row + [0] * (longest - len(row)) for row in rows], np.int32)
    if "tensors" in job:
        named = og.NamedTensors()
        for key, value in np.load(job["tensors"]).items():
            named[key] = value
        return named
    given = {}
    if job.get("images"):
        given["images"] = og.Images.open(*job["images"])
    if job.get("sounds"):
        given["audios"] = og.Audios.open(*job["sounds"])
    named = model.create_multimodal_processor()(job["text"], **given)
    for key in named.keys():
        results[f"{name}.{key}"] = named[key].as_numpy()
    return named


def encode(model, texts, results):
    tokenizer = og.Tokenizer(model)
    results["encoded"] = np.array(json.dumps([list(map(int, tokenizer.encode(text))) for text in texts]))
    results["decoded"] = np.array(json.dumps([tokenizer.decode(tokenizer.encode(text)) for text in texts]))
    message = json.dumps([{"role": "user", "content": texts[0]}])
    results["chat"] = np.array(tokenizer.apply_chat_template(message, add_generation_prompt=True))


def main():
    order = json.load(sys.stdin)
    model, results = og.Model(order["folder"]), {}
    for name, job in order["jobs"].items():
        if name == "texts":
            encode(model, job, results)
        elif "refused" in job:
            try:
                run(model, job, name, results)
                results[f"{name}.error"] = np.array("")
            except Exception as error:
                results[f"{name}.error"] = np.array(str(error))
        else:
            run(model, job, name, results)
    loaded = {module.split(".")[0] for module in sys.modules}
    results["loaded"] = np.array(sorted(loaded & {"torch", "transformers", "g4compile", "onnx", "onnx_ir"}), str)
    np.savez(order["out"], **results)


if __name__ == "__main__":
    main()
