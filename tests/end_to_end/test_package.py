"""What users install: the wheel's content, its command, and how fast that starts."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MTRANSFER = Path(sys.executable).parent / "mtransfer"
HELP_LIMIT_S = 0.8


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def help_seconds() -> float:
    start_s = time.perf_counter()
    assert "transfer" in run(MTRANSFER, "--help")
    return time.perf_counter() - start_s


def test_help_is_fast() -> None:
    assert min(help_seconds() for _ in range(3)) < HELP_LIMIT_S


def test_help_imports_no_torch() -> None:
    script = (
        "import sys; from mtransfer.ui.cli.main import app; sys.argv = ['mtransfer', '--help']\n"
        "try: app()\nexcept SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'diffusers', 'transformers', 'cv2', 'scipy'} & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", script).splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        ("edit samples/kite.jpg --translate 9,0", []),
        ("animate samples/cup.mp4 samples/kite.jpg --frames 0:3", ["torchvision"]),  # whose RAFT reads the clip
    ],
)
def test_a_draft_imports_no_more_than_it_needs(words, needed, tmp_path: Path) -> None:
    words = ["mtransfer", *words.split(), "--preset", "draft", "-o", str(tmp_path / "out")]
    script = (
        f"import sys; from mtransfer.ui.cli.main import app; sys.argv = {words!r}\n"
        "try: app()\nexcept SystemExit as end: assert not end.code\n"
        "heavy = {'diffusers', 'transformers', 'torchvision', 'torchmetrics', 'scipy'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))"
    )
    assert run(sys.executable, "-c", script).splitlines()[-1] == "heavy: " + str(needed)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    (path,) = folder.glob("*.whl")
    return path


def files_below(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_recipes_and_its_weights_only(wheel) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"mtransfer", "mtransfer-0.1.0.dist-info"}
    weights = files_below("mtransfer/weights")
    recipes = {f"mtransfer/{name}" for name in files_below("pipelines") if name.endswith(".toml")}
    assert any(name.endswith(".safetensors") for name in weights)
    assert {f"mtransfer/weights/saliency/{name}" for name in ("u2netp.onnx", "LICENSE")} <= weights
    assert "mtransfer/pipelines/presets/fast.toml" in recipes
    assert weights | recipes <= names
    suffixes = {Path(name).suffix for name in names if name.startswith("mtransfer/") and not name.endswith("/LICENSE")}
    # The model cards show their training curves.
    code, nets = {".py", ".typed", ".js", ".css", ".html"}, {".safetensors", ".onnx", ".json", ".md", ".png"}
    assert suffixes <= code | nets | {".toml"}


@pytest.mark.slow
def test_the_weights_and_recipes_are_in_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = set(run("git", "ls-files", "mtransfer/weights", "pipelines").splitlines())
    assert files_below("mtransfer/weights") | files_below("pipelines") == tracked


@pytest.mark.slow
def test_the_wheel_runs_where_it_is_installed(wheel, tmp_path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    # The dependencies come from this environment, so that nothing is downloaded.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    assert "transfer" in run(tmp_path / "venv" / "bin" / "mtransfer", "--help", cwd=tmp_path)
    found = run(python, "-c", "import mtransfer; print(mtransfer.__file__)", cwd=tmp_path).strip()
    assert Path(found).is_relative_to(tmp_path)
