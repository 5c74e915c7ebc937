"""``python -m experiments.<name>``: flags in, a study in a folder out, an exit code that says how it went."""

import re
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags, logging

from lrstudy.study.command import Command, parse, read_command
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, CLAIM_FAILED, OK, RUN_FAILED, STOPPED
from lrstudy.study.experiment import Experiment
from lrstudy.study.header import header_of, nested
from lrstudy.study.launching.flags import KUBERNETES, NONE, check_launch_flags, define_launch_flags
from lrstudy.study.machine import use_compilation_cache
from lrstudy.study.plan_checks import check_apart, check_parts, check_ready, unready
from lrstudy.study.starting import (
    define_device_flags,
    leave,
    says_peer_is_gone,
    start,
    trains_with_others,
    use_host_devices,
)

FLAGS = flags.FLAGS
_LAYOUT = ("executor", "data_devices", "zero_stage", "accumulate")
_SETTINGS = (*_LAYOUT, "read_workers", "checkpoint_seconds", "checkpoint_steps", "keep_checkpoints")


def define_common_flags(values: flags.FlagValues) -> None:
    """The flags that every experiment has."""
    module = {"flag_values": values, "module_name": sys.argv[0]}
    flags.DEFINE_string("preset", "cpu", "smoke (seconds), cpu (minutes), gpu or paper", **module)
    flags.DEFINE_string("workdir", None, "the study's folder", **module)
    flags.DEFINE_bool("dry_run", False, "print what would be trained and what it costs, and train nothing", **module)
    flags.DEFINE_string("shard", "1/1", "k/n: train the k-th of n shares of the study", **module)
    flags.DEFINE_list("compare", None, "DIR1,DIR2: write compare.html, two studies side by side, and no more", **module)
    flags.DEFINE_bool("report_only", False, "rebuild claims, figures and report from the folder", **module)
    policies = ["keep", "new", "from_here"]
    flags.DEFINE_enum(
        "on_schedule_change", None, policies, "how a run of the folder goes on under another schedule", **module
    )
    flags.DEFINE_bool("tensorboard", False, "write TensorBoard's event files too, below the folder", **module)
    flags.DEFINE_bool("require_claims", False, "exit 3 if a claim does not hold", **module)
    flags.DEFINE_float("checkpoint_seconds", 30.0, "time between checkpoints", **module)
    flags.DEFINE_integer("checkpoint_steps", 0, "also save at every multiple of this step; 0: by time", **module)
    flags.DEFINE_bool("keep_checkpoints", False, "keep them all, for runs that may start from them later", **module)
    define_device_flags(values)
    define_launch_flags(values)


def main(
    experiment: Experiment,
    act: Callable[[Experiment, Command], int] | None = None,
    define: Callable[[flags.FlagValues], None] = define_common_flags,
) -> None:
    """Runs an experiment's command line; does not return.

    Args:
        experiment: whose presets are the configuration.
        act: does what the command asks for and returns the exit code; ``None``: plans, trains and reports the study.
        define: the flags beside those of the configuration; ``preset`` must be among them.
    """
    define(FLAGS)

    def flags_parser(argv: Sequence[str]) -> list[str]:
        try:
            return parse(experiment, argv, FLAGS)
        except ConfigError as error:
            _refuse(error)
        except SystemExit:
            # absl prints its help and leaves with 1, which here means that a run failed.
            sys.exit(OK)

    def entry(argv: Sequence[str]) -> None:
        del argv
        if not FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)  # orbax tells every step of a save
        sys.exit(_outcome(lambda: (act or _study)(experiment, read_command(experiment, FLAGS))))

    app.run(entry, flags_parser=flags_parser)


def _outcome(act: Callable[[], int]) -> int:
    """Starts JAX as the flags say and acts; returns the exit code, or ends the process where something went wrong."""
    try:
        start(FLAGS) if "coordinator" in FLAGS else use_host_devices()
        return act()
    except ConfigError as error:
        _refuse(error)
    except KeyboardInterrupt:
        # Before or after training, where nothing needs saving.
        print("stopped; the same command goes on from there", file=sys.stderr)
        leave(STOPPED)
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except Exception as error:
        if not trains_with_others():
            raise
        # An ordinary end would wait for the others, and they wait for this one.
        if says_peer_is_gone(error):
            reason = str(error).strip().splitlines()[0]
            print(f"error: another process is gone; the same commands go on from there ({reason})", file=sys.stderr)
        else:
            traceback.print_exc()
    return leave(RUN_FAILED)


def _refuse(error: ConfigError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    leave(BAD_COMMAND)


def _study(experiment: Experiment, command: Command) -> int:
    """Plans and does what the flags ask for; returns the exit code."""
    from lrstudy.study.derived import plan_ready, static_parts
    from lrstudy.study.workdir import Workdir

    if FLAGS.compare is not None:
        from lrstudy.study.compare import compare_command

        return compare_command(FLAGS.compare, FLAGS.workdir)
    index, count = _shard(FLAGS.shard)
    check_launch_flags(FLAGS)
    if not FLAGS.workdir and not FLAGS.dry_run:
        raise ConfigError("workdir must be given: --workdir=DIR")
    workdir = Workdir(Path(FLAGS.workdir or "."))
    if FLAGS.report_only:
        workdir.check(must_exist=True)
        check_experiment(experiment, workdir)
        with workdir.locked():
            return _report(experiment, workdir)
    _check_values()
    if FLAGS.dry_run:
        return _dry_run(command, workdir)
    if FLAGS.launcher == KUBERNETES and not FLAGS.launch_task:
        from lrstudy.study.launching.command import print_manifest

        return print_manifest(experiment, command, workdir, FLAGS)
    workdir.check()
    check_experiment(experiment, workdir)
    if FLAGS.launch_task:
        from lrstudy.study.launching.command import do_task

        use_compilation_cache()
        return do_task(experiment, command, workdir, FLAGS, _settings())
    begun = workdir.begun.versions()
    plan, _ = plan_ready(command.parts, workdir, FLAGS.on_schedule_change)
    check_apart(plan, workdir)
    check_ready(plan)
    launched = None
    if FLAGS.launcher != NONE:
        from lrstudy.study.launching.command import launch

        launched = launch(experiment, command, workdir, FLAGS, _settings(workdir))
        if launched.code:
            return launched.code
    else:
        shared: dict[str, Any] = {name: FLAGS[name].value for name in _LAYOUT}
        check_parts(plan, **shared)
    with workdir.locked((index, count)):
        follows = len(static_parts(command.parts)) < len(command.parts)
        if workdir.begun.versions() != begun or FLAGS.on_schedule_change or follows:
            plan = None  # another process has been here, or the plan depends on more than on what was begun
        return _train(experiment, command, workdir, launched, plan)


def _check_values() -> None:
    """Refuses what the flags' own types let pass."""
    for name in ("checkpoint_seconds", "checkpoint_steps"):
        value: Any = FLAGS[name].value
        if not value >= 0:  # nan neither
            raise ConfigError(f"{name} must be at least 0, got {value!r}")
    if FLAGS.tensorboard:
        from lrstudy.study.event_files import check_library

        check_library()


def _dry_run(command: Command, workdir: Any) -> int:
    """Prints what the command trains in all, what the folder already holds of it included; writes nothing."""
    from lrstudy.study.derived import plan_ready, static_parts
    from lrstudy.study.dry_run import describe
    from lrstudy.study.plan import make_plan, shard_of

    if FLAGS.workdir:
        plan, _ = plan_ready(command.parts, workdir, FLAGS.on_schedule_change)
        check_apart(plan, workdir)
    else:
        plan = make_plan(static_parts(command.parts))
    print(describe(shard_of(plan, *_shard(FLAGS.shard))))
    for name in (name for name in command.parts if name not in plan.parts):
        print(f"part {name} follows from what is found and is planned then")
    for line in unready(plan):
        print(f"not ready: {line}")
    return OK


def _settings(workdir: Any = None) -> Any:
    from lrstudy.study.run import say
    from lrstudy.study.trainer import Settings

    given: dict[str, Any] = {name: FLAGS[name].value for name in _SETTINGS}
    if workdir is not None and FLAGS.tensorboard:
        from lrstudy.study.tensorboard import follower

        given["recorded"] = follower(workdir)
    return Settings(**given, warn=say)


def _train(experiment: Experiment, command: Command, workdir: Any, launched: Any = None, plan: Any = None) -> int:
    """Trains what is missing and concludes.

    Args:
        experiment: that is studied.
        command: what is asked for.
        workdir: of the study.
        launched: what became of it if it was handed to a launcher before.
        plan: of the folder as it is, if that is known.
    """
    from lrstudy.study.derived import plan_ready
    from lrstudy.study.plan import shard_of
    from lrstudy.study.run import Launch, say
    from lrstudy.study.signals import StopRequest
    from lrstudy.study.stages import train_stages
    from lrstudy.study.trainer import PreemptedError
    from lrstudy.study.workdir import read_json, write_json
    from lrstudy.training.processes import agreed, process, together

    use_compilation_cache()
    workdir.check_shared()
    settings = _settings(workdir)
    failures, trained_on = (launched.failures, launched.devices or None) if launched else ({}, None)
    if plan is None:
        plan, _ = plan_ready(command.parts, workdir, FLAGS.on_schedule_change)
    launch = Launch(experiment, plan, shard_of(plan, *_shard(FLAGS.shard)).groups, workdir, settings, failures=failures)
    concluded = {**plan.to_json(), "concluded": True}
    files = (workdir.report, workdir.claims, workdir.runs)
    finished = (
        not launch.missing()
        and not launch.unprobed()
        and read_json(workdir.plan) == concluded
        and all(path.is_file() for path in files)
    )
    together("the plan is read")
    if finished:
        settings.recorded()
        print(f"nothing to do: all {len(plan.runs())} runs are finished")
        return _say_conclusion(experiment, read_json(workdir.claims)["claims"], workdir)
    if any(run.early_stop for group in launch.missing() for run in group.runs):
        settings.predictor()  # says how to make it where it is not there, before anything is trained
    with StopRequest() as stop:
        write_json(workdir.config, header_of(experiment, command, nested(plan), trained_on))
        began = time.monotonic()
        try:
            shard = _shard(FLAGS.shard)
            launch = train_stages(launch, command.parts, stop, policy=FLAGS.on_schedule_change, shard=shard)
        except PreemptedError:
            say(f"stopped after saving; the same command goes on from there ({workdir.root})")
            return STOPPED
        if launched is None:
            say(f"trained in {time.monotonic() - began:.0f} s")
        plan = launch.plan
        elsewhere = len(launch.missing(plan.groups)) if len(launch.share) < len(plan.groups) else 0
        if elsewhere:
            print(f"share {FLAGS.shard} is finished; {elsewhere} of {len(plan.groups)} programs are left to others")
            return RUN_FAILED if launch.failures else OK
        header = header_of(experiment, command, nested(plan), trained_on)
        code = OK
        if process().leads:
            with workdir.concluding():
                # Shares that end at once each wrote a table without the end of the other, in whichever order.
                launch.write_runs()
                settings.recorded()
                write_json(workdir.config, header)
                code = _conclude(experiment, workdir, header)
                write_json(workdir.plan, {**plan.to_json(), "concluded": True})
        code = int(agreed(code))
    return RUN_FAILED if launch.failures else code


def _report(experiment: Experiment, workdir: Any) -> int:
    from lrstudy.study.workdir import read_json

    header = read_json(workdir.config)
    if header is None:
        raise StudyError(f"{workdir.config} is missing; the command that made the study writes it again")
    _settings(workdir).recorded()
    return _conclude(experiment, workdir, header)


def check_experiment(experiment: Experiment, workdir: Any) -> None:
    """Refuses the folder of another experiment, whose claims would be overwritten.

    Raises:
        ConfigError: it is one.
    """
    from lrstudy.study.workdir import read_json

    header = read_json(workdir.config)
    if header is not None and header.get("experiment") != experiment.name:
        other = header.get("experiment")
        raise ConfigError(f"workdir must be empty or hold {experiment.name}, got '{workdir.root}' with {other}")


def _conclude(experiment: Experiment, workdir: Any, header: Any) -> int:
    from lrstudy.study.run import conclude

    return _say_conclusion(experiment, conclude(experiment, workdir, header), workdir)


def _say_conclusion(experiment: Experiment, entries: Sequence[dict[str, Any]], workdir: Any) -> int:
    """Prints the claims, or the tables of a study that claims nothing, and the report's path; returns the exit code."""
    from lrstudy.study.claims import table

    if entries:
        print(table(entries))
    else:
        from lrstudy.study.records import UNREADABLE, load

        records = load(workdir)
        for own in experiment.tables:
            try:
                print(f"{own.caption}:\n{own.compute(records).to_string(index=False, na_rep='')}")
            except UNREADABLE as error:
                print(f"{own.caption}: not made, {error}")
    print(f"report: {workdir.report}")
    holds = all(entry["holds"] for entry in entries)
    return OK if holds or not FLAGS.require_claims else CLAIM_FAILED


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count:
        raise ConfigError(f"shard must be k/n with 1 <= k <= n, got {text!r}")
    return index, count
