from cpt.sweeps.sweep import Sweep


def page(sweep: Sweep) -> str:
    return ""
