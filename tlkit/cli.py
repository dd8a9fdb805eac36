"""The command line: each verb parses, makes a configuration, makes one call and prints."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tlkit import console
from tlkit.backend import start_keras
from tlkit.command_line.cache_verbs import cache_app
from tlkit.command_line.search_verb import search
from tlkit.command_line.training_verbs import add_training_verbs
from tlkit.config import AugmentationConfig
from tlkit.config_files import section_from
from tlkit.errors import InputError
from tlkit.version import __version__

DONE, BUG, MISTAKE, FINDINGS, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="Transfer learning with Keras: from a folder of images to a model its owner can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tlkit {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options before the verb."""


add_training_verbs(app)


@app.command()
def predict(
    run: Annotated[str | None, typer.Argument(help="Run folder; left out with --imagenet.", metavar="RUN")] = None,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders, globs, tables, zip files; - reads names from a pipe.")
    ] = None,
    imagenet: Annotated[str | None, typer.Option(help="Predict ImageNet classes with this backbone.")] = None,
    weights: Annotated[str, typer.Option(help="With --imagenet: imagenet or a weights file.")] = "imagenet",
    output_format: Annotated[str | None, typer.Option("--format", help="table, csv or jsonl.")] = None,
    output: Annotated[Path | None, typer.Option(help="File for the rows; one that is there is continued.")] = None,
    embed: Annotated[Path | None, typer.Option(help="File (.npy) for what the head sees.")] = None,
    top: Annotated[int, typer.Option(help="How many classes to tell for each picture.")] = 3,
    threshold: Annotated[float, typer.Option(help="Leave out classes less probable than this.")] = 0.0,
    calibrated: Annotated[bool, typer.Option("--calibrated", help="Divide by the temperature of the run.")] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over crops, and mirror images where they serve.")] = False,
) -> None:
    """Predict the classes of pictures: tlkit predict runs/demo picture.jpg folder/"""
    from tlkit.predicting import Telling
    from tlkit.predicting import predict as predict_pictures
    from tlkit.prediction.outcome import Wanted

    named = [*([run] if imagenet and run else []), *(paths or [])]
    wanted = Wanted(top, threshold, calibrated, features=embed is not None, averaged=tta)
    telling = Telling(output_format, output, embed)
    predict_pictures(
        None if imagenet else run, named, imagenet=imagenet, weights=weights, wanted=wanted, telling=telling
    )


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    formats: Annotated[str, typer.Option("--format", help="keras, savedmodel, litert, onnx, openvino; with commas.")],
    precision: Annotated[str, typer.Option(help="float32, float16 or int8.")] = "float32",
    input_kind: Annotated[str, typer.Option("--input", help="resized, or raw: pictures of any size.")] = "resized",
    temperature: Annotated[
        bool, typer.Option("--temperature", help="Put the run's temperature into the graph.")
    ] = False,
    max_drop: Annotated[float, typer.Option(help="Accuracy that an export may lose before exit code 3.")] = 0.01,
) -> int:
    """Export the model of a run and prove that the export gives its answers."""
    from tlkit.exporting import export as export_model

    lossy = export_model(
        run, formats, precision=precision, input_kind=input_kind, temperature=temperature, max_drop=max_drop
    )
    return FINDINGS if lossy else DONE


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[
        str | None, typer.Option(help="Other pictures, as finetune --data; the test part by default.")
    ] = None,
    sensitivity: Annotated[float | None, typer.Option(help="For two classes: wanted sensitivity.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder to write [default: evaluation-NAME in the run].")] = None,
    leave_out_unknown: Annotated[
        bool, typer.Option("--leave-out-unknown", help="Leave out pictures of classes that the model has not.")
    ] = False,
    tta: Annotated[bool, typer.Option("--tta", help="Average over crops, and mirror images where they serve.")] = False,
) -> None:
    """Judge the model of a run again, on its test part or on other pictures."""
    with console.quiet_step("Starting Keras"):
        start_keras()
        from tlkit.evaluating import evaluate_run
    metrics = evaluate_run(
        run,
        data,
        sensitivity=sensitivity,
        output=output,
        leave_out_unknown=leave_out_unknown,
        averaged=tta,
        step=console.step,
    )
    for note in metrics["notes"]:
        console.warn(note)
    low, high = metrics["test"]["intervals"]["accuracy"]
    console.say(f"  Accuracy {metrics['test']['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%})")
    console.say(f"Report: {metrics['folder']}/report.html")


@app.command()
def backbones(
    pattern: Annotated[str, typer.Argument(help="Only names that match, such as 'resnet*'.")] = "*",
    measure: Annotated[bool, typer.Option("--measure", help="Build each and time it on this machine.")] = False,
    image_size: Annotated[int | None, typer.Option(help="With --measure: side of the images in pixels.")] = None,
) -> None:
    """List the networks to start from, with their facts."""
    from tlkit import listing

    if measure:
        listing.print_measured_backbones(pattern, image_size)
    else:
        listing.print_backbones(pattern)


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="Folder, table, archive or named set, as finetune --data takes it.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the audit as JSON.", metavar="FILE")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="Write the audit as a page.", metavar="FILE")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with exit code 3 where something was found.")] = False,
    max_pixels: Annotated[int | None, typer.Option(help="Refuse pictures of more pixels than this.")] = None,
) -> int:
    """Look at every picture of a data set and tell what is wrong with it, before a minute is spent on training."""
    from tlkit.checking import check_data

    return FINDINGS if check_data(data, json_file, html_file, max_pixels) and strict else DONE


@app.command()
def preview(
    data: Annotated[str, typer.Argument(help="Folder, table, archive or named set, as finetune --data takes it.")],
    augment: Annotated[str, typer.Option(help="none, light, standard or strong.")] = "standard",
    strength: Annotated[float, typer.Option(help="Factor of how far augmentation goes.")] = 1.0,
    flip: Annotated[bool, typer.Option("--flip/--no-flip", help="Whether mirror images keep their class.")] = True,
    mixup: Annotated[float | None, typer.Option(help="Alpha of MixUp, 0 for none.")] = None,
    cutmix: Annotated[float | None, typer.Option(help="Alpha of CutMix, 0 for none.")] = None,
    image_size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 224,
    pictures: Annotated[int, typer.Option(help="How many pictures.")] = 6,
    views: Annotated[int, typer.Option(help="How many augmented views of each.")] = 7,
    seed: Annotated[int, typer.Option(help="Seed of the choice and of the augmentation.")] = 0,
    output: Annotated[Path, typer.Option(help="PNG file to write.", metavar="FILE")] = Path("preview.png"),
) -> None:
    """Show pictures before and after augmentation: tlkit preview ./images --augment standard"""
    from tlkit.previewing import preview as write_preview

    given = {"augment": augment, "strength": strength, "flip": flip, "mixup": mixup, "cutmix": cutmix}
    asked = section_from(AugmentationConfig, given)
    write_preview(data, asked, image_size=image_size, pictures=pictures, views=views, seed=seed, output=output)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="Folder of a run or of a search.")]) -> None:
    """Make the report of a run or a search again, from its folder alone."""
    from tlkit.report import write_any_report

    console.say(f"Report: {write_any_report(run)}")


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more run folders; the first is what others are held against.")
    ],
    html_file: Annotated[Path, typer.Option("--html", help="Where to write the page.")] = Path("comparison.html"),
    allow_different: Annotated[
        bool, typer.Option(help="Compare runs with different test images, on those they share.")
    ] = False,
) -> None:
    """Compare runs on the same test images: paired differences with intervals."""
    from tlkit import listing

    listing.print_comparison(runs, html_file, allow_different)


@app.command()
def inspect(
    target: Annotated[str, typer.Argument(help="Backbone, .keras file or run folder.")],
    image_size: Annotated[int | None, typer.Option(help="Side of the images in pixels.")] = None,
    output_format: Annotated[str | None, typer.Option("--format", help="table, json or html.")] = None,
    output: Annotated[Path | None, typer.Option(help="File to write; html needs one.", metavar="FILE")] = None,
    data: Annotated[str | None, typer.Option(help="Pictures for the measured parts, as finetune --data.")] = None,
    layer: Annotated[str | None, typer.Option(help="With --data: layer to look into.")] = None,
    channel: Annotated[int | None, typer.Option(help="With --data: channel of that layer.")] = None,
) -> None:
    """Show a network layer by layer: sizes, parameters, operations, memory, receptive fields, cuts."""
    with console.quiet_step("Starting Keras"):
        start_keras()
        from tlkit.inspection import inspect as inspect_network
    inspect_network(target, image_size, output_format, output, data, layer, channel)


app.add_typer(cache_app, name="cache")
app.command()(search)


@app.command()
def clean(
    run: Annotated[Path, typer.Argument(help="Folder of a run or of a search to delete.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete the folder of a run or a search, after making sure that it is one."""
    from tlkit import cleaning

    cleaning.require_removable(run)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"Expected a confirmation. Received no terminal to ask on. Use: tlkit clean {run} --yes")
        typer.confirm(f"Delete {run} and the models in it?", abort=True)
    console.say(f"Deleted {run} ({cleaning.remove(run) / 1e6:.1f} MB).")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0 done; 3 done, with findings; 2 the user's mistake, told in one line; 1 a bug of ours; 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=arguments, prog_name="tlkit", standalone_mode=False)
    except InputError as error:
        return _mistake(error, arguments)
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED  # Typer itself turns an interruption into this code, too.
    except Exception as error:
        return _unexpected(error, arguments)
    if code == INTERRUPTED:
        console.fail("Interrupted.")
    return code if isinstance(code, int) else DONE


def _mistake(error: InputError, arguments: list[str]) -> int:
    if "--debug" in arguments:
        raise error
    console.fail(str(error))
    return MISTAKE


def _unexpected(error: Exception, arguments: list[str]) -> int:
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # The parser's own errors: an unknown option, a missing argument.
        console.fail(format_message())
        return MISTAKE
    if "--debug" in arguments:
        raise error
    told = str(error).rstrip(". \n")
    console.fail(f"Unexpected {type(error).__name__}: {told}. This is a bug of tlkit; --debug shows the traceback.")
    return BUG
