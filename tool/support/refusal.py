"""How a command says no."""

EXIT_REFUSED = 1


class Refused(Exception):
    """Something that is wrong or has failed, for the user to know; `problems` are the lines to print."""

    def __init__(self, *problems):
        super().__init__("\n".join(problems))
        self.problems = list(problems)
