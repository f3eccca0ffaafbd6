"""Serving side by side: requests per second, latency and memory of a student behind three services, and a reload under load.

    python benchmarks/serving.py AG_NEWS_TEST.csv [--connections 1 16 128] [--seconds 5]

| arm | what |
|---|---|
| tutelage | `tutelage serve`, one worker |
| plain | the same student behind a FastAPI application of ten lines, one uvicorn worker |
| scikit-learn | TfidfVectorizer (words and pairs) + LogisticRegression on the same labels, behind the same ten lines |

The load is wrk's (https://github.com/wg/wrk, in Debian's package of that name), one thread, each request one text out of a
thousand. Memory is the resident set of the server after the load. In the last line the student is replaced by another while
wrk asks; answers other than 2xx and broken connections are counted. The load generator shares the machine with the server.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PLAIN = """
import sys
from pathlib import Path
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

kind, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
if kind == "plain":
    from tutelage.students import load_student
    model = load_student(folder).set_params(threads=1)
else:
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    rows = pd.read_json(folder.parent / "train.jsonl", lines=True)
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=30, max_iter=500))
    model.fit(rows["text"], rows["label"])
app = FastAPI()

class Body(BaseModel):
    text: str

@app.post("/predict")
def predict(body: Body):
    probs = model.predict_proba([body.text])[0]
    best = int(probs.argmax())
    return {"label": str(model.classes_[best]), "confidence": float(probs[best])}

uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", access_log=False)
"""

LUA = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local i = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
request = function()
  i = i % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[i])
end
"""


def make(file: Path, folder: Path) -> None:
    """Two students of the first 5,000 texts (the second of half of them), the training rows, and a thousand requests."""
    from tutelage.data.sources import ag_news
    from tutelage.students import NgramClassifier

    table = ag_news(file).to_pydict()
    texts, gold = table["text"], table["gold"]
    for name, n in (("student", 5_000), ("newer", 2_500)):
        NgramClassifier(classes=sorted(set(gold))).fit(texts[:n], gold[:n]).save(folder / name)
    rows = zip(texts[:5_000], gold[:5_000], strict=True)
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in rows))
    (folder / "bodies.txt").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[5_000:6_000]))
    (folder / "post.lua").write_text(LUA.replace("BODIES", str(folder / "bodies.txt")))
    (folder / "plain.py").write_text(PLAIN)


def start(arm: str, folder: Path, port: int) -> subprocess.Popen[bytes]:
    """A server, when it answers."""
    own = [sys.executable, "-m", "tutelage", "serve", str(folder / "student"), "--port", str(port)]
    other = [sys.executable, str(folder / "plain.py"), arm, str(folder / "student"), str(port)]
    server = subprocess.Popen(own if arm == "tutelage" else other, stdout=subprocess.DEVNULL)
    body = json.dumps({"text": "warm"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", body, {"content-type": "application/json"}, method="POST"
    )
    for _ in range(600):
        try:
            urllib.request.urlopen(request, timeout=5).read()
            return server
        except OSError:
            if server.poll() is not None:
                raise SystemExit(f"{arm} ended with {server.returncode}") from None
            time.sleep(0.1)
    raise SystemExit(f"{arm} does not answer")


def wrk(folder: Path, port: int, connections: int, seconds: float) -> subprocess.Popen[str]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", "-s", str(folder / "post.lua")]
    return subprocess.Popen([*command, f"http://127.0.0.1:{port}/predict"], stdout=subprocess.PIPE, text=True)


def figures(output: str) -> tuple[float, str, str, int]:
    """Requests/s, median, 99th percentile, and answers that were none."""
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])  # type: ignore[index]
    median, high = (re.search(rf"{p}%\s+(\S+)", output)[1] for p in (50, 99))  # type: ignore[index]
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", output)
    return rate, median, high, int(wrong[1] if wrong else 0) + sum(map(int, broken.groups() if broken else ()))


def memory(pid: int) -> float:
    """Resident set of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--port", type=int, default=18_400)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"load before: {os.getloadavg()[0]:.1f}")
    print(f"{'arm':13} {'connections':>11} {'requests/s':>11} {'p50':>9} {'p99':>9} {'failed':>7} {'MB':>7}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(options.file, folder)
        for port, arm in enumerate(("tutelage", "plain", "scikit-learn"), options.port):
            server = start(arm, folder, port)
            try:
                for connections in options.connections:
                    output = wrk(folder, port, connections, options.seconds).communicate()[0]
                    rate, median, high, failed = figures(output)
                    print(
                        f"{arm:13} {connections:11} {rate:11,.0f} {median:>9} {high:>9} {failed:7} {memory(server.pid):7.0f}",
                        flush=True,
                    )
                if arm == "tutelage":
                    load = wrk(folder, port, 16, 8)
                    time.sleep(2)
                    shutil.move(folder / "student", folder / "old")
                    shutil.move(folder / "newer", folder / "student")
                    rate, median, high, failed = figures(load.communicate()[0])
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as reply:
                        reloads = json.loads(reply.read())["reloads"]
                    print(f"{'  reload':13} {16:11} {rate:11,.0f} {median:>9} {high:>9} {failed:7}    {reloads} reload")
                    shutil.move(folder / "student", folder / "newer")
                    shutil.move(folder / "old", folder / "student")
            finally:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
