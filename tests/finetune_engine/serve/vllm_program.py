"""A program that speaks vLLM's HTTP, as far as we use it: ``serve BASE --port N ...``. It says back what it was asked.

The answer to a prompt of token ids is the name of the model asked and the number of ids. ``/state`` tells what it was given;
after ``/hang`` it is not well any more.
"""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARGUMENTS = sys.argv[1:]
ADAPTERS = {}
UNLOADED = []
IS_WELL = [True]


def option(name):
    return ARGUMENTS[ARGUMENTS.index(name) + 1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, status, body, kind="application/json"):
        told = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def do_GET(self):
        if self.path == "/health":
            self.say(200 if IS_WELL[0] else 503, b"")
        else:
            self.say(200, {"adapters": ADAPTERS, "unloaded": UNLOADED, "arguments": ARGUMENTS, "pid": os.getpid()})

    def do_POST(self):
        if self.path == "/hang":
            IS_WELL[0] = False
            self.say(200, b"")
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {os.environ['VLLM_API_KEY']}":
            self.say(401, {"error": "Unauthorized"})
        elif self.path == "/v1/load_lora_adapter":
            self.load(body)
        elif self.path == "/v1/unload_lora_adapter":
            ADAPTERS.pop(body["lora_name"])
            UNLOADED.append(body["lora_name"])
            self.say(200, b"Success", "text/plain")
        else:
            self.complete(body)

    def load(self, body):
        if os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") != "True":
            self.say(404, {"detail": "Not Found"})
        elif not os.path.exists(os.path.join(body["lora_path"], "adapter_config.json")):
            self.say(404, {"error": {"message": "No adapter found", "code": 404}})
        else:
            ADAPTERS[body["lora_name"]] = body["lora_path"]
            self.say(200, f"Success: LoRA adapter '{body['lora_name']}' added successfully.".encode(), "text/plain")

    def complete(self, body):
        ids = body["prompt"][0]
        if body["model"] not in (*ADAPTERS, option("--served-model-name")):
            self.say(404, {"error": {"message": "The model does not exist.", "code": 404}})
            return
        texts = [body["model"], f" {len(ids)}"]
        logprobs = [{"tokens": [text], "token_logprobs": [-0.5], "top_logprobs": None} for text in texts]
        usage = {"prompt_tokens": len(ids), "completion_tokens": 2}
        if not body.get("stream"):
            both = {"tokens": texts, "token_logprobs": [-0.5, -0.5], "top_logprobs": None}
            choice = {"index": 0, "text": "".join(texts), "logprobs": both, "finish_reason": "stop"}
            self.say(200, {"choices": [choice], "usage": usage})
            return
        chunks = [
            {"choices": [{"index": 0, "text": text, "logprobs": told, "finish_reason": None}]}
            for text, told in zip(texts, logprobs, strict=True)
        ]
        chunks += [{"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}, {"choices": [], "usage": usage}]
        told = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        self.say(200, told + b"data: [DONE]\n\n", "text/event-stream")


if __name__ == "__main__":
    assert ARGUMENTS[0] == "serve"
    # As vLLM does, it leaves work to processes of its own.
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(0.3)
    ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler).serve_forever()
