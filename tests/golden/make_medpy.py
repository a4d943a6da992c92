"""Makes medpy.json: `python tests/golden/make_medpy.py > tests/golden/medpy.json`, with MedPy installed."""

import json
from importlib.metadata import version

import numpy as np
from medpy.filter.smoothing import anisotropic_diffusion

random = np.random.RandomState(0)
IMAGES = {
    "line": random.randint(0, 256, 7),
    "image": random.randint(0, 256, (4, 5)),
    "volume": random.randint(0, 256, (2, 3, 4)),
}
SPACINGS = {"line": [None, (2.0,)], "image": [None, (1.0, 2.0)], "volume": [None, (2.0, 1.0, 1.5)]}

cases = []
for name, image in IMAGES.items():
    for spacing in SPACINGS[name]:
        for option in (1, 2, 3):
            for niter, kappa, gamma in ((1, 50, 0.1), (10, 30, 0.15)):
                result = anisotropic_diffusion(image, niter, kappa, gamma, spacing, option)
                cases.append(
                    {
                        "image": image.tolist(),
                        "arguments": [niter, kappa, gamma, spacing, option],
                        "result": [round(float(v), 4) for v in result.ravel()],
                    }
                )
print(json.dumps({"medpy": version("medpy"), "numpy": version("numpy"), "cases": cases}))
