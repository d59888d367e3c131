# Table 3: the clips that change.
title = "Table 3: MOC beside S4 and MS3"
measures = dict.fromkeys(("S4", "MS3", "MOC"), ("Videos", "Avg. Cate", "Category Changes"))
differs = "The paper does not list MOC's clips."
rows = [
    dict(name="S4", method="S4", paper=dict(S4=(740, 1, 0)), kind="statistics"),
    dict(name="MS3", method="MS3", paper=dict(MS3=(64, 1.375, 26.56)), kind="statistics"),
    dict(name="MOC", method="MOC", paper=dict(MOC=(17, 2.176, 100)), kind="statistics"),
]
