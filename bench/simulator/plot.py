"""The series of simulated runs as a picture. Relies on matplotlib, as the benchmark's plots do."""

from harness import plots
from simulator import figures
from simulator.runs import SERIES, SimulatorError

MIB = 1 << 20

LINES = (("used", "#555555"), ("resident", "#D55E00"), ("occupied", "#0072B2"), ("intact", "#009E73"))


def draw_one(axes, title, series):
    time = SERIES.index("milliseconds")
    for name, colour in LINES:
        column = SERIES.index(name)
        axes.plot([point[time] / 1000 for point in series], [point[column] / MIB for point in series], label=name,
                  color=colour, linewidth=1.1, drawstyle="steps-post")
    axes.set_title(title, loc="left")
    axes.set_xlabel("s")
    axes.set_ylabel("MiB")
    axes.set_ylim(bottom=0)


def draw(path, results):
    if not plots.available:
        raise SimulatorError(f"{plots.HOW_TO_INSTALL}, and run this with {plots.DEBIAN_PYTHON}")
    with plots.matplotlib.rc_context(plots.SETTINGS):
        figure, axes = plots.grid(len(results), 3, 4.4, 2.9)
        for one, ((trace, heap), result) in zip(axes, results.items()):
            draw_one(one, f"{figures.short_name(trace)}: {heap}", result["series"])
        plots.legend(figure, axes, len(LINES))
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.65 / figure.get_figheight()))
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=110)
        plots.pyplot.close(figure)
