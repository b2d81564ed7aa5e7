"""`polyseme embed`: from flags to files."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

from model.tasks.task import Task
from service.body import show as show_value
from service.bulk.encoder import Asked, Encoder
from service.bulk.extras import need
from service.bulk.folder import Fingerprint, Folder
from service.bulk.jobs import jobs
from service.bulk.kept import KeptColumns
from service.bulk.local_engine import make_shards
from service.bulk.options import EXIT_BAD_ROWS, Options, read_options
from service.bulk.parquet_shard import names_of_ours
from service.bulk.plan import Plan, Shard, make_plan
from service.bulk.progress import Progress, Reading
from service.bulk.report import Report, Total
from service.bulk.shard_file import Output
from service.bulk.sources import Source, open_sources, sha256_of
from service.bulk.summary import NOTHING_NOW, Summary, show
from service.commands.store import open_to_read, target_of
from service.engine.backend import Backend, open_backend
from service.engine.cpu import usable_cpus
from service.errors import ServiceError
from service.mixes import Mix, of_layer
from service.refusal import Refusal
from service.replies.answers import Heading
from service.settings import SHIPPED_BUNDLE, Settings
from service.task_store.records import task_name
from service.tasks.learned_tasks import mix_of, wrong_model


def embed(given: argparse.Namespace, settings: Settings) -> int:
    """Embed a corpus and return the exit status. Raises Refusal, BundleError, OSError."""
    options = read_options(given, settings.max_characters)
    if len(settings.bundle) != 1:
        raise Refusal(f"--bundle: expected one folder, got {len(settings.bundle)}")
    need("bulk", "tqdm", "pyarrow", "h5py")
    if given.engine == "ray":
        need("cluster", "ray")
    # A batch system ends a job so; without this the copy of standard input would stay.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="polyseme-embed-") as temporary:
            sources = open_sources(given.inputs, options.input_format, options.column, Path(temporary))
            summary = _Run(given, settings, options, sources).go()
    finally:
        signal.signal(signal.SIGTERM, before)
    show(summary, as_json=given.json)
    return EXIT_BAD_ROWS if summary.bad else 0


class _Run:
    """One run, from its inputs to its files."""

    def __init__(
        self, given: argparse.Namespace, settings: Settings, options: Options, sources: Sequence[Source]
    ) -> None:
        """Raises Refusal, BundleError."""
        self._given = given
        self._settings = settings
        self._options = options
        self._sources = sources
        self._on_ray = given.engine == "ray"
        # Of a cluster's CPUs a task has one unless told otherwise; this process then computes nothing.
        self._num_threads = settings.threads or (1 if self._on_ray else usable_cpus())
        self._backend = open_backend(settings.bundle[0], 1, settings.precision)
        mix = _mix(options, settings, self._backend)
        self._asked = Asked(mix, options.pool, options.normalize, options.dtype)
        self._folder = Folder(options)
        self._output = Output(
            self._folder.path,
            options.format,
            Heading(self._backend.name, self._backend.dimension, self._backend.num_layers, mix),
            options.pool,
            options.dtype,
            options.keeps_sentences,
        )

    def go(self) -> Summary:
        """Make what is not there yet. Raises Refusal, BundleError, OSError."""
        fingerprint = self._fingerprint()
        if (finished := self._folder.finished(fingerprint)) is not None:
            listed = self._folder.bad_rows_path
            moved = {"out": str(self._options.out), "bad_rows": str(listed) if listed.exists() else None}
            return Summary(**{**finished, **NOTHING_NOW, **moved})
        plan = self._plan()
        with self._folder.held(fingerprint):
            wanted = {shard.number for shard in plan.shards if self._output.report_of(shard) is None}
            progress = Progress(plan, wanted, sys.stderr)
            try:
                self._make(plan, wanted, progress)
            except KeyboardInterrupt:
                self._say_stopped(plan)
                raise
            finally:
                progress.close()
            total = self._folder.gather(map(self._finished, plan.shards))
            summary = self._summary(total, len(plan.shards), len(wanted), progress)
            if self._options.format == "hdf5":
                paths = [self._output.path(shard) for shard in plan.shards]
                self._folder.join(paths, fingerprint, asdict(summary))
        return summary

    def _plan(self) -> Plan:
        columns = KeptColumns(names_of_ours(self._output.heading, self._options.pool))
        with Reading(sys.stderr) as reading:
            plan = make_plan(self._sources, self._options, columns, reading)
        if self._options.keeps_columns:
            columns.names()  # refused now, when there can be none
        return plan

    def _make(self, plan: Plan, wanted: Collection[int], progress: Progress) -> None:
        todo = jobs(plan, self._options, wanted)
        if not self._on_ray:
            encoder = Encoder(self._backend, self._asked, self._num_threads)
            make_shards(todo, encoder, self._output, progress.add)
            return
        from service.bulk.ray_engine import Cluster, Worker, make_shards_on_ray

        (bundle,) = self._settings.bundle
        worker = Worker(
            None if bundle == SHIPPED_BUNDLE else bundle.absolute(),
            self._backend.sha256,
            self._num_threads,
            self._settings.precision,
            self._asked,
            self._output,
        )
        cluster = Cluster(self._given.ray_address, self._given.ray_workers)
        make_shards_on_ray(todo, worker, cluster, progress.begin, progress.add)

    def _fingerprint(self) -> Fingerprint:
        options, heading = self._options, self._output.heading.document()
        return {
            "INPUT": [[source.name, sha256_of(source)] for source in self._sources],
            "--bundle": self._backend.sha256,
            "--precision": self._settings.precision,
            "--format": options.format,
            "--input-format": options.input_format,
            "--column": options.column,
            "--pretokenized": options.is_pretokenized,
            "--layer": options.layer,
            "--task": options.task,
            "the learned mix": [heading["layer_weights"], heading["gamma"]],
            "--pool": options.pool,
            "--normalize": options.normalize,
            "--dtype": options.dtype,
            "--forget-sentences": not options.keeps_sentences,
            "--max-characters": options.max_characters,
            "--shard-characters": options.shard_characters,
        }

    def _finished(self, shard: Shard) -> Report:
        report = self._output.report_of(shard)
        if report is None:
            raise Refusal(f"{self._output.path(shard)}: expected the file that was written, got another")
        return report

    def _summary(self, total: Total, num_files: int, num_made: int, progress: Progress) -> Summary:
        return Summary(
            out=str(self._options.out),
            format=self._options.format,
            model=self._backend.name,
            rows=total.rows,
            embedded=total.rows - total.bad,
            bad=total.bad,
            bad_rows=str(self._folder.bad_rows_path) if total.bad else None,
            tokens=total.tokens,
            vectors=total.vectors,
            files=num_files,
            files_made=num_made,
            seconds=round(progress.seconds, 3),
            tokens_per_s=round(progress.tokens_per_s, 1),
        )

    def _say_stopped(self, plan: Plan) -> None:
        num_finished = sum(self._output.path(shard).exists() for shard in plan.shards)
        print(
            f"polyseme: stopped; {num_finished} of {len(plan.shards)} files are finished, and the same "
            "command goes on with the others",
            file=sys.stderr,
        )


def _mix(options: Options, settings: Settings, backend: Backend) -> Mix | None:
    """Return what is asked of the layers. Raises Refusal."""
    if options.task is not None:
        return _learned_mix(options.task, settings, backend)
    try:
        return of_layer(options.layer, backend.num_layers)
    except ServiceError as error:
        raise Refusal(f"--layer: {error.message}") from None


def _learned_mix(name: str, settings: Settings, backend: Backend) -> Mix:
    try:
        kept_name = task_name(name)
    except ValueError as error:
        raise Refusal(f"--task: {error}") from None
    with open_to_read(target_of(settings)) as store:
        stored = None if store is None else store.get(kept_name)
    if stored is None:
        raise Refusal(
            f"--task: expected the name of a task, got {show_value(name)}: `polyseme tasks list` shows what "
            "there is"
        )
    try:
        task = Task.from_document(json.loads(stored.document))
    except ValueError as error:  # of a newer version than this one knows
        raise Refusal(f"--task: {error}") from None
    if task.model_sha256 != backend.sha256:
        raise Refusal(f"--task: {wrong_model(task).message}")
    return mix_of(task)
