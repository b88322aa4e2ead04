class DecayThenFlatSchedule:
    def __init__(self, start, finish, time_length, decay="exp"):
        self.start, self.finish, self.slope = start, finish, (start - finish) / time_length

    def eval(self, T):
        return max(self.finish, self.start - self.slope * T)
